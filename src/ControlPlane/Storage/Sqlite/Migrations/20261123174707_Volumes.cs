using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Ravel.ControlPlane.Storage.Sqlite.Migrations
{
    /// <inheritdoc />
    public partial class Volumes : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "LeaseDescription",
                table: "machines",
                type: "TEXT",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "LeaseExpiresAt",
                table: "machines",
                type: "INTEGER",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "LeaseNonce",
                table: "machines",
                type: "TEXT",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "LeaseOwner",
                table: "machines",
                type: "TEXT",
                nullable: true);

            migrationBuilder.AddColumn<long>(
                name: "StartedAt",
                table: "machines",
                type: "INTEGER",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "idempotency_keys",
                columns: table => new
                {
                    Namespace = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    Key = table.Column<string>(type: "TEXT", maxLength: 255, nullable: false),
                    Fingerprint = table.Column<byte[]>(type: "BLOB", nullable: false),
                    Resource = table.Column<string>(type: "TEXT", maxLength: 20, nullable: false),
                    CreatedAt = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_idempotency_keys", x => new { x.Namespace, x.Key });
                });

            migrationBuilder.CreateTable(
                name: "volumes",
                columns: table => new
                {
                    Id = table.Column<string>(type: "TEXT", maxLength: 20, nullable: false),
                    AppId = table.Column<string>(type: "TEXT", maxLength: 26, nullable: false),
                    Namespace = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    Name = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    LiveName = table.Column<string>(type: "TEXT", maxLength: 63, nullable: true),
                    NodeId = table.Column<string>(type: "TEXT", maxLength: 128, nullable: false),
                    SizeMib = table.Column<long>(type: "INTEGER", nullable: false),
                    ConfirmedMib = table.Column<long>(type: "INTEGER", nullable: false),
                    SourceId = table.Column<string>(type: "TEXT", maxLength: 20, nullable: true),
                    IsSnapshot = table.Column<bool>(type: "INTEGER", nullable: false),
                    IsDestroying = table.Column<bool>(type: "INTEGER", nullable: false),
                    MachineId = table.Column<string>(type: "TEXT", maxLength: 14, nullable: true),
                    CreatedAt = table.Column<long>(type: "INTEGER", nullable: false),
                    Version = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_volumes", x => x.Id);
                    table.ForeignKey(
                        name: "FK_volumes_apps_AppId",
                        column: x => x.AppId,
                        principalTable: "apps",
                        principalColumn: "Id",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateIndex(
                name: "IX_idempotency_keys_CreatedAt",
                table: "idempotency_keys",
                column: "CreatedAt");

            migrationBuilder.CreateIndex(
                name: "IX_volumes_AppId_LiveName",
                table: "volumes",
                columns: new[] { "AppId", "LiveName" },
                unique: true);

            migrationBuilder.CreateIndex(
                name: "IX_volumes_MachineId",
                table: "volumes",
                column: "MachineId");

            migrationBuilder.CreateIndex(
                name: "IX_volumes_Namespace",
                table: "volumes",
                column: "Namespace");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "idempotency_keys");

            migrationBuilder.DropTable(
                name: "volumes");

            migrationBuilder.DropColumn(
                name: "LeaseDescription",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "LeaseExpiresAt",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "LeaseNonce",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "LeaseOwner",
                table: "machines");

            migrationBuilder.DropColumn(
                name: "StartedAt",
                table: "machines");
        }
    }
}
