using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Ravel.ControlPlane.Storage.Sqlite.Migrations
{
    /// <inheritdoc />
    public partial class Command : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "Command",
                table: "machines",
                type: "TEXT",
                nullable: true);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropColumn(
                name: "Command",
                table: "machines");
        }
    }
}
