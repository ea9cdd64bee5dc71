using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Ravel.ControlPlane.Storage.Sqlite.Migrations
{
    /// <inheritdoc />
    public partial class Initial : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.CreateTable(
                name: "namespaces",
                columns: table => new
                {
                    Name = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    CreatedAt = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_namespaces", x => x.Name);
                });

            migrationBuilder.CreateTable(
                name: "nodes",
                columns: table => new
                {
                    Id = table.Column<string>(type: "TEXT", maxLength: 128, nullable: false),
                    LastSequence = table.Column<long>(type: "INTEGER", nullable: false),
                    Vmm = table.Column<string>(type: "TEXT", nullable: false),
                    VmmVersion = table.Column<string>(type: "TEXT", nullable: false),
                    Architecture = table.Column<string>(type: "TEXT", nullable: false),
                    SeenAt = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_nodes", x => x.Id);
                });

            migrationBuilder.CreateTable(
                name: "apps",
                columns: table => new
                {
                    Id = table.Column<string>(type: "TEXT", maxLength: 26, nullable: false),
                    Namespace = table.Column<string>(type: "TEXT", nullable: false),
                    Name = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    CreatedAt = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_apps", x => x.Id);
                    table.ForeignKey(
                        name: "FK_apps_namespaces_Namespace",
                        column: x => x.Namespace,
                        principalTable: "namespaces",
                        principalColumn: "Name",
                        onDelete: ReferentialAction.Restrict);
                });

            migrationBuilder.CreateTable(
                name: "tokens",
                columns: table => new
                {
                    Id = table.Column<string>(type: "TEXT", maxLength: 26, nullable: false),
                    Name = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    Namespace = table.Column<string>(type: "TEXT", nullable: true),
                    Hash = table.Column<byte[]>(type: "BLOB", maxLength: 32, nullable: false),
                    CreatedAt = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_tokens", x => x.Id);
                    table.ForeignKey(
                        name: "FK_tokens_namespaces_Namespace",
                        column: x => x.Namespace,
                        principalTable: "namespaces",
                        principalColumn: "Name",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "machines",
                columns: table => new
                {
                    Id = table.Column<string>(type: "TEXT", maxLength: 14, nullable: false),
                    AppId = table.Column<string>(type: "TEXT", maxLength: 26, nullable: false),
                    Namespace = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    Name = table.Column<string>(type: "TEXT", maxLength: 63, nullable: false),
                    LiveName = table.Column<string>(type: "TEXT", maxLength: 63, nullable: true),
                    Config = table.Column<string>(type: "TEXT", nullable: false),
                    CreatedAt = table.Column<long>(type: "INTEGER", nullable: false),
                    UpdatedAt = table.Column<long>(type: "INTEGER", nullable: false),
                    Version = table.Column<long>(type: "INTEGER", nullable: false),
                    Desired = table.Column<int>(type: "INTEGER", nullable: false),
                    Generation = table.Column<long>(type: "INTEGER", nullable: false),
                    Force = table.Column<bool>(type: "INTEGER", nullable: false),
                    StartAfterStop = table.Column<bool>(type: "INTEGER", nullable: false),
                    StopSignal = table.Column<int>(type: "INTEGER", nullable: true),
                    StopTimeoutSeconds = table.Column<int>(type: "INTEGER", nullable: true),
                    NodeId = table.Column<string>(type: "TEXT", maxLength: 128, nullable: false),
                    ReservationId = table.Column<string>(type: "TEXT", nullable: true),
                    AcceptedGeneration = table.Column<long>(type: "INTEGER", nullable: false),
                    RefusedGeneration = table.Column<long>(type: "INTEGER", nullable: false),
                    ObservedGeneration = table.Column<long>(type: "INTEGER", nullable: false),
                    StartedGeneration = table.Column<long>(type: "INTEGER", nullable: false),
                    ObservedState = table.Column<string>(type: "TEXT", nullable: true),
                    InstanceId = table.Column<string>(type: "TEXT", nullable: true),
                    ImageDigest = table.Column<string>(type: "TEXT", nullable: true),
                    PrivateIp = table.Column<string>(type: "TEXT", nullable: true),
                    NodeIpv4 = table.Column<string>(type: "TEXT", nullable: true),
                    Exit = table.Column<string>(type: "TEXT", nullable: true),
                    ProblemCode = table.Column<string>(type: "TEXT", nullable: true),
                    ProblemMessage = table.Column<string>(type: "TEXT", nullable: true),
                    DestroyedAt = table.Column<long>(type: "INTEGER", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_machines", x => x.Id);
                    table.ForeignKey(
                        name: "FK_machines_apps_AppId",
                        column: x => x.AppId,
                        principalTable: "apps",
                        principalColumn: "Id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "machine_events",
                columns: table => new
                {
                    Sequence = table.Column<long>(type: "INTEGER", nullable: false)
                        .Annotation("Sqlite:Autoincrement", true),
                    MachineId = table.Column<string>(type: "TEXT", maxLength: 14, nullable: false),
                    Type = table.Column<string>(type: "TEXT", maxLength: 32, nullable: false),
                    Status = table.Column<string>(type: "TEXT", maxLength: 16, nullable: false),
                    Source = table.Column<string>(type: "TEXT", maxLength: 16, nullable: false),
                    At = table.Column<long>(type: "INTEGER", nullable: false),
                    InstanceId = table.Column<string>(type: "TEXT", nullable: true),
                    Exit = table.Column<string>(type: "TEXT", nullable: true),
                    ProblemCode = table.Column<string>(type: "TEXT", nullable: true),
                    ProblemMessage = table.Column<string>(type: "TEXT", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_machine_events", x => x.Sequence);
                    table.ForeignKey(
                        name: "FK_machine_events_machines_MachineId",
                        column: x => x.MachineId,
                        principalTable: "machines",
                        principalColumn: "Id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateIndex(
                name: "IX_apps_Namespace_Name",
                table: "apps",
                columns: new[] { "Namespace", "Name" },
                unique: true);

            migrationBuilder.CreateIndex(
                name: "IX_machine_events_MachineId_Sequence",
                table: "machine_events",
                columns: new[] { "MachineId", "Sequence" });

            migrationBuilder.CreateIndex(
                name: "IX_machines_AppId_LiveName",
                table: "machines",
                columns: new[] { "AppId", "LiveName" },
                unique: true);

            migrationBuilder.CreateIndex(
                name: "IX_machines_DestroyedAt",
                table: "machines",
                column: "DestroyedAt");

            migrationBuilder.CreateIndex(
                name: "IX_machines_Namespace",
                table: "machines",
                column: "Namespace");

            migrationBuilder.CreateIndex(
                name: "IX_tokens_Hash",
                table: "tokens",
                column: "Hash",
                unique: true);

            migrationBuilder.CreateIndex(
                name: "IX_tokens_Namespace",
                table: "tokens",
                column: "Namespace");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "machine_events");

            migrationBuilder.DropTable(
                name: "nodes");

            migrationBuilder.DropTable(
                name: "tokens");

            migrationBuilder.DropTable(
                name: "machines");

            migrationBuilder.DropTable(
                name: "apps");

            migrationBuilder.DropTable(
                name: "namespaces");
        }
    }
}
