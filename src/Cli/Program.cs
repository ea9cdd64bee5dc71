using System.CommandLine;
using System.CommandLine.Parsing;
using Ravel.Cli.Connection;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Shell;

namespace Ravel.Cli;

internal static class Program
{
    // '@' begins no file of arguments here: it is part of image references and commands.
    private static readonly ParserConfiguration Configuration = new() { ResponseFileTokenReplacer = null };

    public static async Task<int> Main(string[] arguments)
    {
        var around = Surroundings.OfProcess();
        // Not disposed of: that would write once more what could not be written, and the process ends anyway.
        var terminal = Terminal.OfProcess(around.Variable);
        try
        {
            var code = await RunAsync(arguments, terminal, around);
            terminal.Flush();
            return code;
        }
        catch (IOException e) when (Terminal.IsBrokenPipe(e))
        {
            return ExitCodes.BrokenPipe;
        }
        catch (IOException e)
        {
            Report(terminal, new CliException("output", $"cannot be written: {e.Message.TrimEnd('.')}"));
            return ExitCodes.Error;
        }
    }

    private static async Task<int> RunAsync(string[] arguments, Terminal terminal, Surroundings around)
    {
        var root = RootCommands.Create();
        using var interrupts = new Interrupts();
        CliCommand? command = null;
        try
        {
            switch (arguments)
            {
                case [CompletionCommands.Hook, .. var words]:
                    CompletionCommands.Complete(root, words, terminal);
                    return ExitCodes.Success;
                case ["help", .. var path]:
                    HelpText.Write(ArgumentScan.Target(root, path), terminal);
                    return ExitCodes.Success;
                case ["--version"]:
                    arguments = ["version"];
                    break;
            }

            var result = root.Parse(ArgumentScan.Prepare(root, arguments), Configuration);
            command = (CliCommand)result.CommandResult.Command;
            if (result.GetValue(GlobalOptions.Help) || (command.Run is null && result.Errors.All(error => error.SymbolResult == result.CommandResult)))
            {
                HelpText.Write(command, terminal);
                return ExitCodes.Success;
            }
            if (result.Errors.Count > 0)
                throw CliException.Usage(command.Subject, Describe(result.Errors[0]), $"see: {command.Path} --help");

            using var session = new Session(result, terminal, around, interrupts, TimeProvider.System);
            return await command.Run!(session);
        }
        catch (CliException e)
        {
            terminal.Flush();
            Report(terminal, e);
            // What cannot be parsed has no command yet, but its first words say which was meant.
            return ExitCodes.Of(e, (command ?? ArgumentScan.Target(root, arguments)).RunsWorkload);
        }
        catch (OperationCanceledException) when (interrupts.Cancelled.IsCancellationRequested)
        {
            terminal.Flush();
            return interrupts.ExitCode;
        }
        catch (Exception e) when (e is not IOException || !Terminal.IsBrokenPipe((IOException)e))
        {
            // A bug, or an environment that nobody thought of: still one line.
            Report(terminal, new CliException("internal", $"{e.GetType().Name}: {e.Message}", "please report this"));
            return command is { RunsWorkload: true } ? ExitCodes.CouldNotRun : ExitCodes.Error;
        }
    }

    private static void Report(Terminal terminal, CliException error)
    {
        try
        {
            terminal.Error.WriteLine(error.Line);
        }
        catch (IOException)
        {
            // Nowhere to say it; the exit code does.
        }
    }

    /// <summary>The library's words for what is missing, in ours.</summary>
    private static string Describe(ParseError error) => error.SymbolResult switch
    {
        ArgumentResult { Tokens.Count: 0, Argument.Name: var name } when error.Message.Contains("missing", StringComparison.OrdinalIgnoreCase) =>
            $"{name} is missing",
        OptionResult { Tokens.Count: 0, Option: { Name: var name, HelpName: var value } } => $"{name} needs a value ({value})",
        _ => error.Message.TrimEnd('.'),
    };
}
