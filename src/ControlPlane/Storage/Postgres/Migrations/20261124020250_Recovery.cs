using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Ravel.ControlPlane.Storage.Postgres.Migrations
{
    /// <inheritdoc />
    public partial class Recovery : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<int>(
                name: "DrainPerApp",
                table: "nodes",
                type: "integer",
                nullable: false,
                defaultValue: 0);

            migrationBuilder.AddColumn<long>(
                name: "DrainUntil",
                table: "nodes",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "DrainedSince",
                table: "nodes",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "Epoch",
                table: "nodes",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.AddColumn<long>(
                name: "LostAt",
                table: "nodes",
                type: "bigint",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "PlacedGeneration",
                table: "machines",
                type: "bigint",
                nullable: false,
                defaultValue: 0L);

            migrationBuilder.CreateTable(
                name: "departures",
                columns: table => new
                {
                    NodeId = table.Column<string>(type: "character varying(128)", maxLength: 128, nullable: false, collation: "C"),
                    MachineId = table.Column<string>(type: "character varying(14)", maxLength: 14, nullable: false, collation: "C"),
                    Generation = table.Column<long>(type: "bigint", nullable: false),
                    AfterStart = table.Column<bool>(type: "boolean", nullable: false),
                    IsBegun = table.Column<bool>(type: "boolean", nullable: false),
                    At = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_departures", x => new { x.NodeId, x.MachineId });
                });

            migrationBuilder.CreateTable(
                name: "leases",
                columns: table => new
                {
                    Name = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    Holder = table.Column<string>(type: "character varying(26)", maxLength: 26, nullable: false, collation: "C"),
                    Beat = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_leases", x => x.Name);
                });

            migrationBuilder.CreateIndex(
                name: "IX_machines_NodeId",
                table: "machines",
                column: "NodeId");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "departures");

            migrationBuilder.DropTable(
                name: "leases");

            migrationBuilder.DropIndex(
                name: "IX_machines_NodeId",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "DrainPerApp",
                table: "nodes");

            migrationBuilder.DropColumn(
                name: "DrainUntil",
                table: "nodes");

            migrationBuilder.DropColumn(
                name: "DrainedSince",
                table: "nodes");

            migrationBuilder.DropColumn(
                name: "Epoch",
                table: "nodes");

            migrationBuilder.DropColumn(
                name: "LostAt",
                table: "nodes");

            migrationBuilder.DropColumn(
                name: "PlacedGeneration",
                table: "machines");
        }
    }
}
