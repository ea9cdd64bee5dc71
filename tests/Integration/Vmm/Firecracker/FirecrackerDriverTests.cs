using System.Net.Http.Json;
using System.Net.Sockets;
using Ravel.Testing.Vmm;
using Ravel.Vmm;

namespace Ravel.Integration.Vmm.Firecracker;

/// <summary>What only Firecracker does, and what the fake's contract refuses.</summary>
public sealed class FirecrackerDriverTests : IAsyncLifetime
{
    private readonly FakeFirecrackerHarness _harness = new(isJailed: false);

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _harness.DisposeAsync();

    [Fact]
    public async Task A_probe_tells_the_version_and_what_is_missing()
    {
        var probe = await _harness.Driver.ProbeAsync(_harness.Deadline);
        Assert.Equal("1.17.0", probe.Version);

        var absent = await VmmDrivers.Create(_harness.Options with { Firecracker = "/nowhere/firecracker" }).ProbeAsync(_harness.Deadline);
        Assert.False(absent.Available);
        Assert.Contains(absent.Problems, problem => problem.Message.Contains("/nowhere/firecracker") && problem.Remedy.Contains("RAVEL_FIRECRACKER"));
    }

    [Fact]
    public async Task A_kernel_that_is_none_is_refused_in_Firecrackers_words_and_leaves_nothing()
    {
        var spec = _harness.NewSpec();
        await File.WriteAllTextAsync(spec.Boot.KernelPath, "no kernel", _harness.Deadline);

        var error = await Assert.ThrowsAnyAsync<VmmException>(() => _harness.Driver.LaunchAsync(spec, _harness.Deadline));

        Assert.Contains("/actions", error.Message);
        Assert.Contains("Invalid Elf magic number", error.Message);
        Assert.Empty(_harness.Leftovers(spec));
    }

    [Fact]
    public async Task An_older_version_is_given_an_ELF_and_says_so_of_a_file_that_holds_none()
    {
        await using var old = new FakeFirecrackerHarness(isJailed: false, version: "1.13.1");
        var spec = old.NewSpec();
        await File.WriteAllTextAsync(spec.Boot.KernelPath, "no kernel", _harness.Deadline);

        var error = await Assert.ThrowsAnyAsync<VmmException>(() => old.Driver.LaunchAsync(spec, _harness.Deadline));

        Assert.Contains("neither a bzImage nor an ELF", error.Message);
    }

    [Fact]
    public async Task Sockets_left_by_a_crash_do_not_keep_a_purged_id_from_starting()
    {
        var spec = _harness.NewSpec();
        foreach (var name in (string[])["api.sock", "v.sock", "v.sock_1024"])
            await File.WriteAllTextAsync(Path.Combine(spec.RunDirectory, name), "", _harness.Deadline);

        await _harness.Driver.PurgeAsync(spec.Id, spec.RunDirectory, _harness.Deadline);
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);

        Assert.False(vmm.Exited.IsCompleted);
    }

    [Fact]
    public async Task A_process_that_is_already_there_is_not_launched_twice()
    {
        var spec = _harness.NewSpec();
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);

        var error = await Assert.ThrowsAnyAsync<VmmException>(() => _harness.Driver.LaunchAsync(spec, _harness.Deadline));

        Assert.Contains("purge it first", error.Message);
        Assert.False(vmm.Exited.IsCompleted);
    }

    [Theory]
    [InlineData("PUT", "/drives/late", """{"drive_id":"late","is_root_device":false}""", "fault_message", "after starting")]
    [InlineData("PUT", "/drives/a-b", """{"drive_id":"a-b","is_root_device":false}""", "fault_message", "alphanumeric characters and underscores")]
    [InlineData("PUT", "/drives/a", """{"drive_id":"b","is_root_device":false}""", "fault_message", "does not match")]
    [InlineData("PUT", "/machine-config", """{"vcpu_count":33,"mem_size_mib":128}""", "fault_message", "invalid value: 33")]
    [InlineData("PUT", "/machine-config", """{"vcpu_count":1}""", "fault_message", "missing field `mem_size_mib`")]
    [InlineData("PUT", "/machine-config", """{"vcpu_count":1,"mem_size_mib":128,"turbo":true}""", "fault_message", "unknown field `turbo`")]
    [InlineData("PATCH", "/vm", """{"state":"Stopped"}""", "fault_message", "unknown variant `Stopped`")]
    [InlineData("PUT", "/nothing", "{}", "fault_message", "Invalid request method and/or path")]
    [InlineData("POST", "/vm", "{}", "error", "Invalid HTTP Method")]
    [InlineData("PATCH", "/drives/other", """{"drive_id":"other"}""", "fault_message", "Invalid block device ID")]
    [InlineData("PATCH", "/balloon", """{"amount_mib":1}""", "fault_message", "Device not found")]
    [InlineData("PUT", "/snapshot/load", """{"snapshot_path":"kernel","mem_file_path":"kernel"}""", "fault_message", "after starting")]
    [InlineData("PUT", "/snapshot/create", """{"snapshot_path":"a","mem_file_path":"b"}""", "fault_message", "not paused")]
    public async Task The_fake_refuses_what_the_contract_forbids(string method, string path, string body, string key, string words)
    {
        var spec = _harness.NewSpec();
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        using var client = Client(spec);

        using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = new StringContent(body) };
        using var response = await client.SendAsync(request, _harness.Deadline);

        Assert.Equal(400, (int)response.StatusCode);
        var answer = await response.Content.ReadFromJsonAsync<Dictionary<string, string>>(_harness.Deadline);
        Assert.Contains(words, answer![key]);
    }

    [Fact]
    public async Task The_fake_refuses_a_body_over_its_limit()
    {
        var spec = _harness.NewSpec();
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        using var client = Client(spec);

        using var response = await client.PutAsync("/logger", new StringContent(new string(' ', 51_201)), _harness.Deadline);

        Assert.Equal(400, (int)response.StatusCode);
        Assert.Contains("error", (await response.Content.ReadFromJsonAsync<Dictionary<string, string>>(_harness.Deadline))!.Keys);
    }

    internal static HttpClient Client(VmSpec spec)
    {
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(Path.Combine(spec.RunDirectory, "api.sock")), cancellationToken);
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
        return new HttpClient(handler) { BaseAddress = new Uri("http://localhost") };
    }
}
