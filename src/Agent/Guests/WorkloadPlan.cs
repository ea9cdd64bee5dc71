using Ravel.Contracts.Api;
using Ravel.Contracts.Link;
using Ravel.Contracts.Node;
using Ravel.Images;

namespace Ravel.Agent.Guests;

/// <summary>What a machine runs: the image's configuration with the machine's overrides, by Docker's rules.</summary>
internal static class WorkloadPlan
{
    /// <exception cref="InstanceException">There is nothing to run.</exception>
    public static ProcessConfig Process(MachineSpec spec, ImageConfig image)
    {
        // An entrypoint of one's own takes the image's command away with the image's entrypoint.
        var entrypoint = spec.Entrypoint is { } own ? own.Values : image.Entrypoint;
        var command = spec.Command is { } given ? given.Values : spec.Entrypoint is null ? image.Cmd : [];
        string[] arguments = [.. entrypoint, .. command];
        if (arguments.Length == 0)
        {
            throw new InstanceException(
                ProblemCodes.InvalidRequest, $"The image {spec.Image} does not say what to run; give the machine a command.");
        }
        return new ProcessConfig
        {
            Arguments = arguments,
            Environment = Environment(image.Env, spec.Environment),
            User = spec.User.Length > 0 ? spec.User : image.User,
            WorkingDirectory = spec.WorkingDirectory.Length > 0 ? spec.WorkingDirectory : image.WorkingDir,
            Tty = spec.Tty,
        };
    }

    /// <summary>
    /// The arguments as they are told to whoever lists machines: an image may have any number of them, of any length, so that what is longer than
    /// a line of a table is cut off.
    /// </summary>
    public static IReadOnlyList<string> Told(IReadOnlyList<string> arguments)
    {
        const int MaxCharacters = 512;
        var told = new List<string>();
        var left = MaxCharacters;
        foreach (var argument in arguments)
        {
            if (left <= 0)
                break;
            told.Add(argument.Length <= left ? argument : argument[..left]);
            left -= argument.Length + 1;
        }
        return told;
    }

    /// <summary>An override takes the place of the image's variable of that name; a new one comes behind.</summary>
    public static IReadOnlyList<string> Environment(IReadOnlyList<string> image, IEnumerable<EnvironmentVariable> overrides)
    {
        var variables = new List<string>(image);
        foreach (var variable in overrides)
        {
            var assignment = $"{variable.Name}={variable.Value}";
            var place = variables.FindIndex(v => v.StartsWith(variable.Name + "=", StringComparison.Ordinal) || v == variable.Name);
            if (place >= 0)
                variables[place] = assignment;
            else
                variables.Add(assignment);
        }
        return variables;
    }

    /// <summary>The machine's stop signal, else the image's, else SIGTERM.</summary>
    public static int StopSignal(MachineSpec spec, ImageConfig? image)
    {
        if (spec.Stop is { Signal: > 0 } stop)
            return stop.Signal;
        return SignalNames.TryParse(image?.StopSignal, out var signal) ? signal : SignalNames.Term;
    }
}
