using System.Runtime.InteropServices;

namespace Ravel.Linux.Network;

// The kernel's structures of include/uapi/linux/{netlink,rtnetlink,if_link,if_addr,neighbour,pkt_sched}.h and
// netfilter/nfnetlink.h, named after them. Their layouts are compared with the C compiler's in a test.

/// <summary>struct nlmsghdr (netlink(7)).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NlMsgHdr
{
    internal uint Len;
    internal ushort Type;
    internal ushort Flags;
    internal uint Seq;
    internal uint Pid;
}

/// <summary>struct nlattr.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NlAttr
{
    internal ushort Len;
    internal ushort Type;
}

/// <summary>struct ifinfomsg (rtnetlink(7)).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct IfInfoMsg
{
    internal byte Family;
    internal byte Pad;
    internal ushort Type;
    internal int Index;
    internal uint Flags;
    internal uint Change;
}

/// <summary>struct ifaddrmsg.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct IfAddrMsg
{
    internal byte Family;
    internal byte PrefixLen;
    internal byte Flags;
    internal byte Scope;
    internal uint Index;
}

/// <summary>struct rtmsg.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RtMsg
{
    internal byte Family;
    internal byte DstLen;
    internal byte SrcLen;
    internal byte Tos;
    internal byte Table;
    internal byte Protocol;
    internal byte Scope;
    internal byte Type;
    internal uint Flags;
}

/// <summary>struct ndmsg.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NdMsg
{
    internal byte Family;
    internal byte Pad1;
    internal ushort Pad2;
    internal int IfIndex;
    internal ushort State;
    internal byte Flags;
    internal byte Type;
}

/// <summary>struct tcmsg.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TcMsg
{
    internal byte Family;
    internal byte Pad1;
    internal ushort Pad2;
    internal int IfIndex;
    internal uint Handle;
    internal uint Parent;
    internal uint Info;
}

/// <summary>struct tc_ratespec.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TcRateSpec
{
    internal byte CellLog;
    internal byte LinkLayer;
    internal ushort Overhead;
    internal short CellAlign;
    internal ushort Mpu;
    internal uint Rate;
}

/// <summary>struct tc_tbf_qopt.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TcTbfQopt
{
    internal TcRateSpec Rate;
    internal TcRateSpec PeakRate;
    internal uint Limit;
    internal uint Buffer;
    internal uint Mtu;
}

/// <summary>struct nfgenmsg; the resource id is big-endian and always 0 here.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NfGenMsg
{
    internal byte Family;
    internal byte Version;
    internal ushort ResId;
}

/// <summary>struct ifreq, as far as TUNSETIFF reads it (netdevice(7)).</summary>
[StructLayout(LayoutKind.Sequential, Size = 40)]
internal unsafe struct IfReq
{
    internal fixed byte Name[16];
    internal short Flags;
}
