using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Linux.Processes;

namespace Ravel.Testing.EndToEnd;

/// <summary>
/// One "host" of an end-to-end test: a network namespace of its own with an uplink to nowhere, a data directory, the
/// published binaries, and (on demand) a real registry on the namespace's loopback. All that is done to Ravel is done as a
/// user does it, through <c>ravel</c> as a process. Disposing stops everything and says what would not go.
/// </summary>
public sealed class RavelHost : IAsyncDisposable
{
    private readonly NetworkNamespace _namespace;
    private readonly List<string> _dataDirectories = [];
    private readonly string _scratch;

    private RavelHost(NetworkNamespace @namespace, string scratch)
    {
        _namespace = @namespace;
        _scratch = scratch;
        DataDirectory = AddDataDirectory("data");
    }

    /// <summary>The data directory used when a command names none.</summary>
    public string DataDirectory { get; }

    public string NetworkNamespaceName => _namespace.Name;

    /// <summary>A directory of this test, gone at the end.</summary>
    public string Scratch => _scratch;

    /// <summary>Where the published binaries are: <c>RAVEL_BIN</c>, else <c>artifacts/bin</c> of the checkout.</summary>
    public static string Binaries { get; } = FindBinaries();

    public static async Task<RavelHost> CreateAsync()
    {
        var scratch = Directory.CreateTempSubdirectory("ravel-e2e-").FullName;
        var @namespace = await NetworkNamespace.CreateAsync();
        return new RavelHost(@namespace, scratch);
    }

    /// <summary>Registers another data directory, so that it is brought down at the end.</summary>
    public string AddDataDirectory(string name)
    {
        var path = Path.Combine(_scratch, name);
        _dataDirectories.Add(path);
        return path;
    }

    /// <summary>Brings Ravel up on a data directory (the default one unless named).</summary>
    public async Task UpAsync(string? dataDirectory = null)
    {
        var result = await RavelAsync(["up", "--detach", "--data", dataDirectory ?? DataDirectory, "--listen", "127.0.0.1:0"], data: null);
        if (result.ExitCode != 0)
        {
            var log = Path.Combine(dataDirectory ?? DataDirectory, "raveld.log");
            var words = File.Exists(log) ? await File.ReadAllTextAsync(log) : "(no raveld.log)";
            throw new InvalidOperationException($"ravel up failed with {result.ExitCode}: {result.Error}\n{words}");
        }
    }

    /// <summary>Runs <c>ravel</c> in the namespace, with the data directory in the environment.</summary>
    public Task<CommandResult> RavelAsync(params string[] arguments) => RavelAsync(arguments, DataDirectory);

    public Task<CommandResult> RavelAsync(IReadOnlyList<string> arguments, string? data, string? input = null, TimeSpan? timeout = null)
    {
        List<string> all = [.. Environment(data), Path.Combine(Binaries, "ravel"), .. arguments];
        return _namespace.RunAsync("env", all, input, timeout ?? TimeSpan.FromMinutes(2));
    }

    /// <summary>Runs <c>ravel</c>, which has to succeed, and returns what it printed.</summary>
    public async Task<string> RavelOkAsync(params string[] arguments)
    {
        var result = await RavelAsync(arguments);
        return result.ExitCode == 0
            ? result.Output
            : throw new InvalidOperationException(
                $"ravel {string.Join(' ', arguments)} failed with {result.ExitCode}: {result.Error}{result.Output}");
    }

    /// <summary>Starts a detached machine and returns its id.</summary>
    public async Task<string> RunDetachedAsync(params string[] arguments) =>
        (await RavelOkAsync(["run", "-d", .. arguments])).Trim();

    /// <summary>What <c>ravel inspect</c> says of a machine.</summary>
    public async Task<Machine> InspectAsync(string machine)
    {
        var json = await RavelOkAsync("inspect", machine, "--json");
        using var document = JsonDocument.Parse(json);
        var element = document.RootElement.ValueKind == JsonValueKind.Array ? document.RootElement[0] : document.RootElement;
        return element.Deserialize(ApiJson.Default.Machine)!;
    }

    /// <summary>What <c>ravel inspect</c> says once the machine is in a state (30 s; longer than a boot).</summary>
    public async Task<Machine> InspectUntilAsync(string machine, string state)
    {
        for (var attempt = 0; ; attempt++)
        {
            var seen = await InspectAsync(machine);
            if (seen.State == state)
                return seen;
            if (attempt == 60)
                throw new InvalidOperationException($"{machine} is {seen.State} and never became {state}: {seen.Problem?.Message}");
            await Task.Delay(500);
        }
    }

    /// <summary>Fetches a page from inside the namespace; the exit code is curl's.</summary>
    public Task<CommandResult> FetchAsync(string url) =>
        _namespace.RunAsync("curl", ["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "10", url], timeout: TimeSpan.FromSeconds(20));

    /// <summary>Fetches a page, again until the server is there (30 s).</summary>
    public async Task<string> FetchUntilAsync(string url)
    {
        for (var attempt = 0; ; attempt++)
        {
            var result = await FetchAsync(url);
            if (result.ExitCode == 0)
                return result.Output;
            if (attempt == 60)
                throw new InvalidOperationException($"{url} never answered: {result.Error}");
            await Task.Delay(500);
        }
    }

    /// <summary>
    /// The rootfs files the host's VMMs have open, one entry for each VMM and file.
    /// </summary>
    public IReadOnlyList<string> OpenRootfsFiles()
    {
        var rootfs = Directory.EnumerateFiles(Path.Combine(DataDirectory, "images"), "rootfs.erofs", SearchOption.AllDirectories)
            .ToHashSet(StringComparer.Ordinal);
        var open = new List<string>();
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(path => int.TryParse(Path.GetFileName(path), out _)))
        {
            try
            {
                open.AddRange(Directory.EnumerateFiles(process + "/fd")
                    .Select(fd => File.ResolveLinkTarget(fd, returnFinalTarget: false)?.FullName ?? "")
                    .Where(rootfs.Contains)
                    .Distinct());
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The process ended while it was looked at.
            }
        }
        return open;
    }

    /// <summary>The command lines, word by word, of VMMs of a size that only the caller's machines have.</summary>
    public static IReadOnlyList<string[]> Hypervisors(int mebibytes)
    {
        var found = new List<string[]>();
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(path => int.TryParse(Path.GetFileName(path), out _)))
        {
            try
            {
                var words = File.ReadAllText(process + "/cmdline").Split('\0');
                if (words[0].Contains("qemu", StringComparison.Ordinal) && words.Any(word => word.Contains($"size={mebibytes}M", StringComparison.Ordinal)))
                    found.Add(words);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The process ended while it was looked at.
            }
        }
        return found;
    }

    /// <summary>Runs any program in the namespace.</summary>
    public Task<CommandResult> InNamespaceAsync(string program, params string[] arguments) =>
        _namespace.RunAsync(program, arguments, timeout: TimeSpan.FromSeconds(60));

    /// <summary>Starts a long-running program in the namespace; the caller disposes it.</summary>
    public BackgroundProgram Start(string program, IReadOnlyList<string> arguments) => _namespace.Start(program, arguments);

    /// <summary>Serves one page on port 8000 of the host's neighbour, outside.</summary>
    public BackgroundProgram ServeOutside(string page)
    {
        var directory = Directory.CreateDirectory(Path.Combine(_scratch, "outside")).FullName;
        File.WriteAllText(Path.Combine(directory, "index.html"), page);
        return _namespace.Start("busybox", ["httpd", "-f", "-p", $"{NetworkNamespace.OutsideAddress}:8000", "-h", directory], outside: true);
    }

    /// <summary>Starts <c>ravel</c> and reads its output line by line.</summary>
    public BackgroundProgram StartRavel(params string[] arguments) =>
        Start("env", [.. Environment(DataDirectory), Path.Combine(Binaries, "ravel"), .. arguments]);

    /// <summary>What <c>raveld</c> wrote for its client.</summary>
    public ClientConfig Client(string? dataDirectory = null) =>
        JsonSerializer.Deserialize(
            File.ReadAllText(Path.Combine(dataDirectory ?? DataDirectory, "client.json")), ApiJson.Default.ClientConfig)!;

    /// <summary>SIGKILL to the daemon, as a crash would do it.</summary>
    public async Task KillDaemonAsync()
    {
        var pid = Client().Pid;
        await CommandRunner.RunCheckedAsync("kill", ["-KILL", pid.ToString()]);
        while (Directory.Exists($"/proc/{pid}") && !IsZombie(pid))
            await Task.Delay(10);
    }

    public async ValueTask DisposeAsync()
    {
        var failures = new List<string>();
        foreach (var directory in _dataDirectories.Where(Directory.Exists))
        {
            var down = await RavelAsync(["down", "--data", directory], data: null);
            if (down.ExitCode != 0)
                failures.Add($"ravel down --data {directory}: {down.Error}");
        }
        await _namespace.DisposeAsync();
        if (System.Environment.GetEnvironmentVariable("RAVEL_KEEP") is null)
            Directory.Delete(_scratch, recursive: true);
        if (failures.Count > 0)
            throw new InvalidOperationException(string.Join('\n', failures));
    }

    private List<string> Environment(string? data)
    {
        // Twenty machines that do next to nothing fit on any host.
        List<string> variables = [$"HOME={_scratch}", "NO_COLOR=1", "RAVEL_CPU_OVERCOMMIT=32"];
        if (data is not null)
            variables.Add($"RAVEL_DATA={data}");
        return variables;
    }

    private static bool IsZombie(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].StartsWith('Z');
        }
        catch (IOException)
        {
            return true;
        }
    }

    private static string FindBinaries()
    {
        if (System.Environment.GetEnvironmentVariable("RAVEL_BIN") is { Length: > 0 } configured)
            return Path.GetFullPath(configured);
        for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(Path.Combine(directory.FullName, "Ravel.slnx")))
                return Path.Combine(directory.FullName, "artifacts", "bin");
        }
        throw new InvalidOperationException("RAVEL_BIN is not set and no checkout is above the test binaries.");
    }
}
