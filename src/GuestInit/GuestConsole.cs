using System.Text;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit;

/// <summary>The guest's serial console: for people who look for the reason when the link cannot carry it.</summary>
internal static class GuestConsole
{
    public static void Say(string line) => _ = Descriptors.Write(2, Encoding.UTF8.GetBytes($"ravel-init: {line}\n"));
}
