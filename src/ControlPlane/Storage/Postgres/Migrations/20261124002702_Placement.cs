using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Ravel.ControlPlane.Storage.Postgres.Migrations
{
    /// <inheritdoc />
    public partial class Placement : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "Batch",
                table: "machines",
                type: "character varying(20)",
                maxLength: 20,
                nullable: true,
                collation: "C");

            migrationBuilder.AddColumn<string>(
                name: "FailedNodes",
                table: "machines",
                type: "text",
                nullable: true,
                collation: "C");

            migrationBuilder.AddColumn<string>(
                name: "Region",
                table: "machines",
                type: "character varying(63)",
                maxLength: 63,
                nullable: false,
                defaultValue: "",
                collation: "C");

            migrationBuilder.CreateIndex(
                name: "IX_machines_Batch",
                table: "machines",
                column: "Batch",
                filter: "\"Batch\" IS NOT NULL");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropIndex(
                name: "IX_machines_Batch",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "Batch",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "FailedNodes",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "Region",
                table: "machines");
        }
    }
}
