using System.Security.Cryptography;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Machines;

/// <summary>The sole right to change a machine, for a while. Pure.</summary>
internal static class MachineLeases
{
    /// <summary>Where its holder says its nonce; the name that clients of the Fly API send.</summary>
    public const string Header = "fly-machine-lease-nonce";

    public const int DefaultSeconds = 30;
    public const int MaxSeconds = 86_400;
    public const int MaxDescription = 256;

    public static bool IsHeld(MachineRow row, DateTimeOffset now) => row.LeaseNonce is not null && row.LeaseExpiresAt > now;

    /// <exception cref="ProblemException"><c>lease-held</c> by somebody else.</exception>
    public static void Check(MachineRow row, string? nonce, DateTimeOffset now)
    {
        if (IsHeld(row, now) && row.LeaseNonce != nonce)
        {
            throw new ProblemException(
                ProblemCodes.LeaseHeld,
                $"Machine {row.Id} ({row.Name}) is leased until {row.LeaseExpiresAt:yyyy-MM-dd'T'HH:mm:ss'Z'}; wait, or send its nonce in {Header}.");
        }
    }

    public static void CheckSeconds(string field, int? seconds)
    {
        if (seconds is < 1 or > MaxSeconds)
            throw ProblemException.Invalid($"{field} must be 1 to {MaxSeconds} seconds.");
    }

    /// <summary>Takes the lease, or prolongs the one its holder has.</summary>
    public static void Take(MachineRow row, string owner, int seconds, string? description, DateTimeOffset now)
    {
        row.LeaseNonce = IsHeld(row, now) ? row.LeaseNonce : Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
        row.LeaseOwner = owner;
        row.LeaseDescription = description;
        row.LeaseExpiresAt = now + TimeSpan.FromSeconds(seconds);
    }

    /// <summary>
    /// Whether the lease there is, is still the one the machine was made with: whoever made it may be told its nonce again. One that was
    /// taken since ends later.
    /// </summary>
    public static bool IsFirst(MachineRow row, int? seconds, DateTimeOffset now) =>
        seconds is not null && IsHeld(row, now) && row.LeaseExpiresAt == row.CreatedAt + TimeSpan.FromSeconds(seconds.Value);

    public static void Release(MachineRow row) =>
        (row.LeaseNonce, row.LeaseOwner, row.LeaseDescription, row.LeaseExpiresAt) = (null, null, null, null);

    public static LeaseResponse Shown(MachineRow row, bool withNonce) => new(
        "success",
        new MachineLease(withNonce ? row.LeaseNonce : null, row.LeaseExpiresAt!.Value.ToUnixTimeSeconds(), row.LeaseOwner!, row.LeaseDescription));
}
