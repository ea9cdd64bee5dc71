using System.Diagnostics.CodeAnalysis;
using Ravel.ControlPlane.Administration;
using Ravel.ControlPlane.Storage;
using Ravel.Linux.Files;

namespace Ravel.Daemon;

/// <summary><c>raveld admin backup|restore|migrate-database</c>: what is done to the server's database from outside.</summary>
internal static class AdminCommand
{
    public static async Task<int> RunAsync(string[] args, TextWriter error, CancellationToken cancellationToken)
    {
        if (!SettingSources.TryLoad(args, out var sources, out var told, out var problem))
            return Refuse(error, problem, Usage.ExitCode);
        try
        {
            return told switch
            {
                ["backup", .. var rest] => await BackUpAsync(rest, sources, error, cancellationToken),
                ["restore", .. var rest] => await RestoreAsync(rest, sources, error, cancellationToken),
                ["migrate-database", .. var rest] => await MoveAsync(rest, sources, error, cancellationToken),
                _ => Refuse(error, "raveld admin: say backup, restore or migrate-database; see raveld --help", Usage.ExitCode),
            };
        }
        catch (Exception e) when (e is AdministrationException or IOException or UnauthorizedAccessException)
        {
            return Refuse(error, $"raveld admin: {e.Message}", 1);
        }
        catch (OperationCanceledException)
        {
            return Refuse(error, "raveld admin: interrupted; nothing was changed", 130);
        }
    }

    private static async Task<int> BackUpAsync(string[] args, SettingSources sources, TextWriter error, CancellationToken cancellationToken)
    {
        if (!TryRead("backup", args, sources, "--database", out var line, out var file, out var problem) || !TryDatabase(line, "--database", out var database, out problem))
            return Refuse(error, problem, Usage.ExitCode);
        if (file is null)
            return Refuse(error, "raveld admin backup: say which FILE to write", Usage.ExitCode);
        if (Path.Exists(file))
            return Refuse(error, $"raveld admin backup: {file} is there already; name a new file", 1);
        // Whole under its name, or not there.
        var partial = file + ".partial";
        File.Delete(partial);
        try
        {
            await DatabaseAdministration.BackUpAsync(database, partial, error.WriteLine, cancellationToken);
            DurableFiles.Publish(partial, file);
        }
        finally
        {
            File.Delete(partial);
        }
        error.WriteLine($"{database} is backed up to {file} ({new FileInfo(file).Length} bytes)");
        return 0;
    }

    private static async Task<int> RestoreAsync(string[] args, SettingSources sources, TextWriter error, CancellationToken cancellationToken)
    {
        var replaces = args.Contains("--replace");
        if (!TryRead("restore", [.. args.Where(arg => arg != "--replace")], sources, "--database", out var line, out var file, out var problem)
            || !TryDatabase(line, "--database", out var database, out problem))
            return Refuse(error, problem, Usage.ExitCode);
        if (file is null)
            return Refuse(error, "raveld admin restore: say which FILE", Usage.ExitCode);
        MakeDirectory(database);
        await DatabaseAdministration.RestoreAsync(file, database, replaces, error.WriteLine, cancellationToken);
        error.WriteLine($"{database} is what {file} has; start raveld");
        return 0;
    }

    private static async Task<int> MoveAsync(string[] args, SettingSources sources, TextWriter error, CancellationToken cancellationToken)
    {
        if (!TryRead("migrate-database", args, sources, "--from", out var line, out var file, out var problem)
            || !TryDatabase(line, "--from", out var from, out problem))
            return Refuse(error, problem, Usage.ExitCode);
        if (file is not null || line.Value("--to") is not { } text)
            return Refuse(error, "raveld admin migrate-database: say where with --to postgres://USER:PASSWORD@HOST/DATABASE", Usage.ExitCode);
        if (!DatabaseAddress.TryParse(text, out var to, out var reason))
            return Refuse(error, $"raveld admin migrate-database: --to: {reason}", Usage.ExitCode);
        MakeDirectory(to);
        await DatabaseAdministration.MoveAsync(from, to, error.WriteLine, cancellationToken);
        error.WriteLine($"{to} is what {from} has; start raveld with --database, and keep {from} until you have seen that all is there");
        return 0;
    }

    /// <summary>Options, and one word that is none.</summary>
    private static bool TryRead(
        string command, string[] args, SettingSources sources, string database, [NotNullWhen(true)] out CommandLine? line, out string? file, [NotNullWhen(false)] out string? error)
    {
        // The last word, where it is not the value of an option.
        var isValue = args is [.., var before, _] && before.StartsWith("--", StringComparison.Ordinal) && !before.Contains('=');
        file = args is [.., var last] && !last.StartsWith('-') && !isValue ? last : null;
        return CommandLine.TryRead(
            $"admin {command}", file is null ? args : args[..^1], ["--data", database, .. command == "migrate-database" ? ["--to"] : Array.Empty<string>()],
            sources, out line, out error, section: "server");
    }

    /// <summary>That of the data directory, unless another is named.</summary>
    private static bool TryDatabase(CommandLine line, string option, [NotNullWhen(true)] out DatabaseAddress? database, [NotNullWhen(false)] out string? error)
    {
        (database, error) = (DatabaseAddress.Sqlite(Path.Combine(Path.GetFullPath(line.Value("--data") ?? RunOptions.DefaultData), "server.db")), null);
        if (line.Value(option) is not { } text || DatabaseAddress.TryParse(text, out database, out error))
            return true;
        error = $"raveld admin: {option}: {error}";
        return false;
    }

    /// <summary>Of a host where no server was yet.</summary>
    private static void MakeDirectory(DatabaseAddress database)
    {
        if (database.Directory is { } directory)
            Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    private static int Refuse(TextWriter error, string message, int exitCode)
    {
        error.WriteLine(message);
        return exitCode;
    }
}
