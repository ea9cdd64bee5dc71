using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Ravel.ControlPlane.Administration;
using Ravel.ControlPlane.Storage;

namespace Ravel.Testing.ControlPlane;

/// <summary>Rows in every table of the model and in every column, made from the model itself, so that a new table needs no new test.</summary>
internal static class FilledTables
{
    public const int RowsPerTable = 3;

    public static async Task FillAsync(ServerDbContext db)
    {
        var made = new Dictionary<IEntityType, List<object>>();
        foreach (var type in DatabaseCopy.Tables(db.Model))
        {
            made[type] = [];
            for (var i = 1; i <= RowsPerTable; i++)
            {
                var row = RuntimeHelpers.GetUninitializedObject(type.ClrType);
                foreach (var property in type.GetProperties().Where(p => !p.IsShadowProperty()))
                    property.PropertyInfo!.SetValue(row, Value(property, i, made));
                made[type].Add(row);
                db.Add(row);
            }
        }
        await db.SaveChangesAsync();
        db.ChangeTracker.Clear();
    }

    /// <summary>All that is in all tables, as text that can be compared.</summary>
    public static async Task<string> DumpAsync(ServerDbContext db)
    {
        var text = new StringBuilder();
        foreach (var type in DatabaseCopy.Tables(db.Model))
        {
            var rows = (Task<List<string>>)typeof(FilledTables).GetMethod(nameof(RowsAsync))!.MakeGenericMethod(type.ClrType).Invoke(null, [db])!;
            text.AppendLine(type.GetTableName()).AppendJoin('\n', (await rows).Order(StringComparer.Ordinal)).AppendLine();
        }
        return text.ToString();
    }

    public static async Task<List<string>> RowsAsync<TRow>(ServerDbContext db)
        where TRow : class => (await db.Set<TRow>().AsNoTracking().ToListAsync()).ConvertAll(row => JsonSerializer.Serialize(row));

    private static object? Value(IProperty property, int i, Dictionary<IEntityType, List<object>> made)
    {
        if (property.GetContainingForeignKeys().FirstOrDefault() is { } key)
            return key.PrincipalKey.Properties[0].PropertyInfo!.GetValue(made[key.PrincipalEntityType][i - 1]);
        var type = Nullable.GetUnderlyingType(property.ClrType) ?? property.ClrType;
        if (type.IsEnum)
            return Enum.GetValues(type).GetValue(i % Enum.GetValues(type).Length);
        if (type == typeof(string))
        {
            var text = string.Create(CultureInfo.InvariantCulture, $"{property.Name[..Math.Min(8, property.Name.Length)]}-é{i}");
            return text[..Math.Min(text.Length, property.GetMaxLength() ?? int.MaxValue)];
        }
        if (type == typeof(byte[]))
            return Enumerable.Range(i, property.GetMaxLength() ?? 40).Select(n => (byte)(n * 37)).ToArray();
        if (type == typeof(DateTimeOffset))
            return DateTimeOffset.UnixEpoch.AddDays(20_000 + i).AddMicroseconds(123_457);
        // Beyond 32 bits where there is room.
        return type == typeof(long) ? (1L << 40) + i
            : type == typeof(bool) ? i % 2 == 1
            : Convert.ChangeType(i + 1, type, CultureInfo.InvariantCulture);
    }
}
