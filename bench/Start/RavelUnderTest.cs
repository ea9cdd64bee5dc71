using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Ravel.Bench.Daemon;
using Ravel.Contracts.Api;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Bench.Start;

/// <summary>A Ravel of its own, as <c>ravel up</c> makes it, driven over its API.</summary>
internal sealed class RavelUnderTest : IAsyncDisposable
{
    /// <summary>What the workload prints first, and what tells that it runs.</summary>
    public const string FirstLine = "the workload runs";

    private const string App = "bench";
    private const string Image = "bench.local/busybox:latest";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly string _bin;
    private readonly string _work;
    private readonly HttpClient _http;

    private RavelUnderTest(string bin, string work, HttpClient http) => (_bin, _work, _http) = (bin, work, http);

    public static IReadOnlyList<string> Workload { get; } = ["/bin/sh", "-c", $"echo {FirstLine}; exec sleep 3600"];

    public int DaemonPid => Client.Pid;

    public string DataDirectory => Path.Combine(_work, "data");

    /// <summary>Prints its first line, and a line every few milliseconds for ever.</summary>
    public static IReadOnlyList<string> TickingWorkload { get; } =
        ["/bin/sh", "-c", $"echo {FirstLine}; while true; do usleep 20000; echo tick; done"];

    /// <param name="warmStarts">Machines begin as copies of a guest that waits; otherwise each boots.</param>
    /// <param name="cancellationToken">Leaves nothing behind.</param>
    public static async Task<RavelUnderTest> UpAsync(bool warmStarts, CancellationToken cancellationToken)
    {
        var bin = Environment.GetEnvironmentVariable("RAVEL_BIN") ?? Path.Combine(RepositoryRoot.Path, "artifacts", "bin");
        var image = await TestImages.BusyboxAsync(cancellationToken);
        var work = Directory.CreateTempSubdirectory("ravel-bench-").FullName;
        // What the ravel below inherits: a configuration of its own beside the user's, and the kernel that setup fetched.
        Environment.SetEnvironmentVariable("XDG_CONFIG_HOME", Path.Combine(work, "config"));
        Environment.SetEnvironmentVariable("RAVEL_KERNEL", Path.Combine(RepositoryRoot.Path, "artifacts", "kernel"));
        Environment.SetEnvironmentVariable("RAVEL_WARM_START", warmStarts ? "on" : "off");
        var http = new HttpClient();
        var ravel = new RavelUnderTest(bin, work, http);
        try
        {
            await ravel.UpAgainAsync(cancellationToken);
            await ravel.ImportAsync(image, Image, cancellationToken);
            var client = ravel.Client;
            http.BaseAddress = new Uri(client.Server.TrimEnd('/') + "/v1/");
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", client.Token);
            using var created = await http.PostAsJsonAsync(
                "apps", new CreateAppRequest { AppName = App }, ApiJson.Default.CreateAppRequest, cancellationToken);
            await EnsureAsync(created, cancellationToken);
            return ravel;
        }
        catch
        {
            await ravel.DisposeAsync();
            throw;
        }
    }

    public Task ImportAsync(OciLayout image, string name, CancellationToken cancellationToken) =>
        CommandAsync(["image", "import", image.Directory, "--name", name], cancellationToken);

    /// <summary>One machine, from the start call to its first line; created before and destroyed after.</summary>
    public Task<TimeSpan> MeasureStartAsync(CancellationToken cancellationToken) => MeasureStartAsync(Image, cancellationToken);

    /// <inheritdoc cref="MeasureStartAsync(CancellationToken)"/>
    public async Task<TimeSpan> MeasureStartAsync(string image, CancellationToken cancellationToken)
    {
        var machine = await CreateAsync(cancellationToken, image);
        try
        {
            return await StartAsync(machine, cancellationToken);
        }
        finally
        {
            await DestroyAsync(machine);
        }
    }

    /// <summary>A machine that is not started yet.</summary>
    public async Task<Machine> CreateAsync(CancellationToken cancellationToken, string image = Image, IReadOnlyList<string>? workload = null, GuestSize? guest = null)
    {
        var request = new CreateMachineRequest
        {
            SkipLaunch = true,
            Config = new MachineConfig { Image = image, Guest = guest, Init = new InitConfig { Exec = workload ?? Workload } },
        };
        using var response = await _http.PostAsJsonAsync(
            $"apps/{App}/machines", request, ApiJson.Default.CreateMachineRequest, cancellationToken);
        await EnsureAsync(response, cancellationToken);
        return (await response.Content.ReadFromJsonAsync(ApiJson.Default.Machine, cancellationToken))!;
    }

    /// <summary>From the start call until the machine's first line is here.</summary>
    public async Task<TimeSpan> StartAsync(Machine machine, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(Patience);
        var began = Stopwatch.GetTimestamp();
        using (var started = await _http.PostAsync($"{PathOf(machine)}/start", null, deadline.Token))
            await EnsureAsync(started, deadline.Token);
        await using var log = await _http.GetStreamAsync($"{PathOf(machine)}/logs?follow=true", deadline.Token);
        using var lines = new StreamReader(log);
        while (await lines.ReadLineAsync(deadline.Token) is { } line)
        {
            if (JsonSerializer.Deserialize(line, ApiJson.Default.LogLine) is { Stream: "stdout", Message: FirstLine + "\n" })
                return Stopwatch.GetElapsedTime(began);
        }
        var end = await _http.GetFromJsonAsync(PathOf(machine), ApiJson.Default.Machine, cancellationToken);
        throw new InvalidOperationException($"machine {machine.Name} is {end?.State} and printed nothing: {end?.Problem?.Message}");
    }

    /// <summary>Puts a machine aside; returns when it is.</summary>
    public async Task SuspendAsync(Machine machine, CancellationToken cancellationToken)
    {
        using (var suspended = await _http.PostAsync($"{PathOf(machine)}/suspend", null, cancellationToken))
            await EnsureAsync(suspended, cancellationToken);
        using var waited = await _http.GetAsync($"{PathOf(machine)}/wait?state={MachineStates.Suspended}&timeout=60", cancellationToken);
        await EnsureAsync(waited, cancellationToken);
    }

    /// <summary>From the call that has a machine go on until it has printed something after it.</summary>
    public async Task<TimeSpan> ResumeAsync(Machine machine, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(Patience);
        var began = Stopwatch.GetTimestamp();
        using (var started = await _http.PostAsync($"{PathOf(machine)}/start", null, deadline.Token))
            await EnsureAsync(started, deadline.Token);
        await using var log = await _http.GetStreamAsync($"{PathOf(machine)}/logs?follow=true&tail=0", deadline.Token);
        using var lines = new StreamReader(log);
        while (await lines.ReadLineAsync(deadline.Token) is { } line)
        {
            if (JsonSerializer.Deserialize(line, ApiJson.Default.LogLine) is { Stream: "stdout" })
                return Stopwatch.GetElapsedTime(began);
        }
        throw new InvalidOperationException($"machine {machine.Name} did not go on");
    }

    public async Task StopAsync(Machine machine, CancellationToken cancellationToken)
    {
        using (var stopped = await _http.PostAsync($"{PathOf(machine)}/stop", null, cancellationToken))
            await EnsureAsync(stopped, cancellationToken);
        using var waited = await _http.GetAsync($"{PathOf(machine)}/wait?state={MachineStates.Stopped}&timeout=60", cancellationToken);
        await EnsureAsync(waited, cancellationToken);
    }

    public async Task DestroyAsync(Machine machine)
    {
        using var response = await _http.DeleteAsync($"{PathOf(machine)}?force=true");
        await EnsureAsync(response, CancellationToken.None);
        // The next round shall not share the host with the end of this one.
        using var waited = await _http.GetAsync($"{PathOf(machine)}/wait?state={MachineStates.Destroyed}&timeout=60");
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        if (Directory.Exists(DataDirectory))
            await CommandRunner.RunAsync(Path.Combine(_bin, "ravel"), ["--data", DataDirectory, "down"], timeout: Patience);
        Directory.Delete(_work, recursive: true);
    }

    /// <summary>SIGKILL to the daemon; returns when it is gone.</summary>
    public async Task KillDaemonAsync(CancellationToken cancellationToken)
    {
        var pid = DaemonPid;
        await CommandRunner.RunCheckedAsync("kill", ["-KILL", pid.ToString(CultureInfo.InvariantCulture)], cancellationToken: cancellationToken);
        while (ProcessFigures.IsRunning(pid))
            await Task.Delay(5, cancellationToken);
    }

    /// <summary>Brings the daemon up, with what was running taken over.</summary>
    public Task UpAgainAsync(CancellationToken cancellationToken) => CommandAsync(["up", "--detach"], cancellationToken);

    /// <summary>Runs a command in a machine; it has to succeed.</summary>
    public async Task ExecAsync(Machine machine, IReadOnlyList<string> command, CancellationToken cancellationToken)
    {
        using var response = await _http.PostAsJsonAsync(
            $"{PathOf(machine)}/exec", new ExecRequest { Command = command }, ApiJson.Default.ExecRequest, cancellationToken);
        await EnsureAsync(response, cancellationToken);
        var result = (await response.Content.ReadFromJsonAsync(ApiJson.Default.ExecResponse, cancellationToken))!;
        if (result.ExitCode != 0)
            throw new InvalidOperationException($"{command[0]} in machine {machine.Name} ended with {result.ExitCode}: {result.Stderr}");
    }

    private ClientConfig Client => JsonSerializer.Deserialize(
        File.ReadAllBytes(Path.Combine(DataDirectory, "client.json")), ApiJson.Default.ClientConfig)!;

    private static string PathOf(Machine machine) => $"apps/{App}/machines/{machine.Id}";

    private Task<string> CommandAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
        CommandRunner.RunCheckedAsync(
            Path.Combine(_bin, "ravel"), ["--data", DataDirectory, .. arguments], timeout: Patience, cancellationToken: cancellationToken);

    private static async Task EnsureAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        if (!response.IsSuccessStatusCode)
            throw new InvalidOperationException($"{response.RequestMessage!.RequestUri}: {(int)response.StatusCode} {await response.Content.ReadAsStringAsync(cancellationToken)}");
    }
}
