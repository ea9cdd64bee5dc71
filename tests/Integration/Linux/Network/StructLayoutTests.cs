using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Linux.Network;

/// <summary>The managed structures against the kernel's headers, by the C compiler.</summary>
public sealed class StructLayoutTests : IDisposable
{
    private static readonly Dictionary<Type, (string C, string[] Fields)> Structs = new()
    {
        [typeof(NlMsgHdr)] = ("struct nlmsghdr", ["nlmsg_len", "nlmsg_type", "nlmsg_flags", "nlmsg_seq", "nlmsg_pid"]),
        [typeof(NlAttr)] = ("struct nlattr", ["nla_len", "nla_type"]),
        [typeof(IfInfoMsg)] = ("struct ifinfomsg", ["ifi_family", "__ifi_pad", "ifi_type", "ifi_index", "ifi_flags", "ifi_change"]),
        [typeof(IfAddrMsg)] = ("struct ifaddrmsg", ["ifa_family", "ifa_prefixlen", "ifa_flags", "ifa_scope", "ifa_index"]),
        [typeof(RtMsg)] = (
            "struct rtmsg",
            ["rtm_family", "rtm_dst_len", "rtm_src_len", "rtm_tos", "rtm_table", "rtm_protocol", "rtm_scope", "rtm_type", "rtm_flags"]),
        [typeof(NdMsg)] = ("struct ndmsg", ["ndm_family", "ndm_pad1", "ndm_pad2", "ndm_ifindex", "ndm_state", "ndm_flags", "ndm_type"]),
        [typeof(TcMsg)] = ("struct tcmsg", ["tcm_family", "tcm__pad1", "tcm__pad2", "tcm_ifindex", "tcm_handle", "tcm_parent", "tcm_info"]),
        [typeof(TcRateSpec)] = ("struct tc_ratespec", ["cell_log", "linklayer", "overhead", "cell_align", "mpu", "rate"]),
        [typeof(TcTbfQopt)] = ("struct tc_tbf_qopt", ["rate", "peakrate", "limit", "buffer", "mtu"]),
        [typeof(NfGenMsg)] = ("struct nfgenmsg", ["nfgen_family", "version", "res_id"]),
        [typeof(IfReq)] = ("struct ifreq", ["ifr_name", "ifr_flags"]),
    };

    private readonly string _directory = Directory.CreateTempSubdirectory("layout-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Layouts_are_those_of_the_kernels_headers()
    {
        Need.Program("gcc");
        var program = new StringBuilder("""
            #include <stddef.h>
            #include <stdio.h>
            #include <linux/if.h>
            #include <linux/rtnetlink.h>
            #include <linux/neighbour.h>
            #include <linux/pkt_sched.h>
            #include <linux/netfilter/nfnetlink.h>
            int main(void) {

            """);
        var managed = new StringBuilder();
        foreach (var (type, (c, fields)) in Structs)
        {
            program.AppendLine(CultureInfo.InvariantCulture, $"printf(\"{c} %zu\\n\", sizeof({c}));");
            managed.Append(CultureInfo.InvariantCulture, $"{c} {Marshal.SizeOf(type)}\n");
            var own = type.GetFields(BindingFlags.Instance | BindingFlags.NonPublic);
            Assert.Equal(fields.Length, own.Length);
            foreach (var (name, field) in fields.Zip(own))
            {
                program.AppendLine(CultureInfo.InvariantCulture, $"printf(\"{name} %zu\\n\", offsetof({c}, {name}));");
                managed.Append(CultureInfo.InvariantCulture, $"{name} {Marshal.OffsetOf(type, field.Name)}\n");
            }
        }
        program.AppendLine("return 0; }");

        var executable = Path.Combine(_directory, "layout");
        await CommandRunner.RunCheckedAsync("gcc", ["-x", "c", "-", "-o", executable], program.ToString());
        Assert.Equal(await CommandRunner.RunCheckedAsync(executable, []), managed.ToString());
    }
}
