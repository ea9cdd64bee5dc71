using Microsoft.EntityFrameworkCore.Migrations;
using Npgsql.EntityFrameworkCore.PostgreSQL.Metadata;

#nullable disable

namespace Ravel.ControlPlane.Storage.Postgres.Migrations
{
    /// <inheritdoc />
    public partial class Initial : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.CreateTable(
                name: "idempotency_keys",
                columns: table => new
                {
                    Namespace = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    Key = table.Column<string>(type: "character varying(255)", maxLength: 255, nullable: false, collation: "C"),
                    Fingerprint = table.Column<byte[]>(type: "bytea", nullable: false),
                    Resource = table.Column<string>(type: "character varying(20)", maxLength: 20, nullable: false, collation: "C"),
                    CreatedAt = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_idempotency_keys", x => new { x.Namespace, x.Key });
                });

            migrationBuilder.CreateTable(
                name: "namespaces",
                columns: table => new
                {
                    Name = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    CreatedAt = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_namespaces", x => x.Name);
                });

            migrationBuilder.CreateTable(
                name: "nodes",
                columns: table => new
                {
                    Id = table.Column<string>(type: "character varying(128)", maxLength: 128, nullable: false, collation: "C"),
                    LastSequence = table.Column<long>(type: "bigint", nullable: false),
                    Vmm = table.Column<string>(type: "text", nullable: false, collation: "C"),
                    VmmVersion = table.Column<string>(type: "text", nullable: false, collation: "C"),
                    Architecture = table.Column<string>(type: "text", nullable: false, collation: "C"),
                    SeenAt = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("PK_nodes", x => x.Id);
                });

            migrationBuilder.CreateTable(
                name: "apps",
                columns: table => new
                {
                    Id = table.Column<string>(type: "character varying(26)", maxLength: 26, nullable: false, collation: "C"),
                    Namespace = table.Column<string>(type: "character varying(63)", nullable: false, collation: "C"),
                    Name = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    CreatedAt = table.Column<long>(type: "bigint", nullable: false)
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
                    Id = table.Column<string>(type: "character varying(26)", maxLength: 26, nullable: false, collation: "C"),
                    Name = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    Namespace = table.Column<string>(type: "character varying(63)", nullable: true, collation: "C"),
                    Hash = table.Column<byte[]>(type: "bytea", maxLength: 32, nullable: false),
                    CreatedAt = table.Column<long>(type: "bigint", nullable: false)
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
                    Id = table.Column<string>(type: "character varying(14)", maxLength: 14, nullable: false, collation: "C"),
                    AppId = table.Column<string>(type: "character varying(26)", maxLength: 26, nullable: false, collation: "C"),
                    Namespace = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    Name = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    LiveName = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: true, collation: "C"),
                    Config = table.Column<string>(type: "text", nullable: false, collation: "C"),
                    CreatedAt = table.Column<long>(type: "bigint", nullable: false),
                    UpdatedAt = table.Column<long>(type: "bigint", nullable: false),
                    Version = table.Column<long>(type: "bigint", nullable: false),
                    Desired = table.Column<int>(type: "integer", nullable: false),
                    Generation = table.Column<long>(type: "bigint", nullable: false),
                    Force = table.Column<bool>(type: "boolean", nullable: false),
                    StartAfterStop = table.Column<bool>(type: "boolean", nullable: false),
                    StopSignal = table.Column<int>(type: "integer", nullable: true),
                    StopTimeoutSeconds = table.Column<int>(type: "integer", nullable: true),
                    NodeId = table.Column<string>(type: "character varying(128)", maxLength: 128, nullable: false, collation: "C"),
                    ReservationId = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    LeaseNonce = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    LeaseOwner = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    LeaseDescription = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    LeaseExpiresAt = table.Column<long>(type: "bigint", nullable: true),
                    AcceptedGeneration = table.Column<long>(type: "bigint", nullable: false),
                    RefusedGeneration = table.Column<long>(type: "bigint", nullable: false),
                    ObservedGeneration = table.Column<long>(type: "bigint", nullable: false),
                    StartedGeneration = table.Column<long>(type: "bigint", nullable: false),
                    ObservedState = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    InstanceId = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    StartedAt = table.Column<long>(type: "bigint", nullable: true),
                    ImageDigest = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    PrivateIp = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    NodeIpv4 = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    Exit = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    ProblemCode = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    ProblemMessage = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    DestroyedAt = table.Column<long>(type: "bigint", nullable: true)
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
                name: "volumes",
                columns: table => new
                {
                    Id = table.Column<string>(type: "character varying(20)", maxLength: 20, nullable: false, collation: "C"),
                    AppId = table.Column<string>(type: "character varying(26)", maxLength: 26, nullable: false, collation: "C"),
                    Namespace = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    Name = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: false, collation: "C"),
                    LiveName = table.Column<string>(type: "character varying(63)", maxLength: 63, nullable: true, collation: "C"),
                    NodeId = table.Column<string>(type: "character varying(128)", maxLength: 128, nullable: false, collation: "C"),
                    SizeMib = table.Column<long>(type: "bigint", nullable: false),
                    ConfirmedMib = table.Column<long>(type: "bigint", nullable: false),
                    SourceId = table.Column<string>(type: "character varying(20)", maxLength: 20, nullable: true, collation: "C"),
                    IsSnapshot = table.Column<bool>(type: "boolean", nullable: false),
                    IsDestroying = table.Column<bool>(type: "boolean", nullable: false),
                    MachineId = table.Column<string>(type: "character varying(14)", maxLength: 14, nullable: true, collation: "C"),
                    CreatedAt = table.Column<long>(type: "bigint", nullable: false),
                    Version = table.Column<long>(type: "bigint", nullable: false)
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

            migrationBuilder.CreateTable(
                name: "machine_events",
                columns: table => new
                {
                    Sequence = table.Column<long>(type: "bigint", nullable: false)
                        .Annotation("Npgsql:ValueGenerationStrategy", NpgsqlValueGenerationStrategy.IdentityByDefaultColumn),
                    MachineId = table.Column<string>(type: "character varying(14)", maxLength: 14, nullable: false, collation: "C"),
                    Type = table.Column<string>(type: "character varying(32)", maxLength: 32, nullable: false, collation: "C"),
                    Status = table.Column<string>(type: "character varying(16)", maxLength: 16, nullable: false, collation: "C"),
                    Source = table.Column<string>(type: "character varying(16)", maxLength: 16, nullable: false, collation: "C"),
                    At = table.Column<long>(type: "bigint", nullable: false),
                    InstanceId = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    Exit = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    ProblemCode = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    ProblemMessage = table.Column<string>(type: "text", nullable: true, collation: "C"),
                    Transaction = table.Column<ulong>(type: "xid8", nullable: false, defaultValueSql: "pg_current_xact_id()")
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
                name: "IX_idempotency_keys_CreatedAt",
                table: "idempotency_keys",
                column: "CreatedAt");

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
                name: "machine_events");

            migrationBuilder.DropTable(
                name: "nodes");

            migrationBuilder.DropTable(
                name: "tokens");

            migrationBuilder.DropTable(
                name: "volumes");

            migrationBuilder.DropTable(
                name: "machines");

            migrationBuilder.DropTable(
                name: "apps");

            migrationBuilder.DropTable(
                name: "namespaces");
        }
    }
}
