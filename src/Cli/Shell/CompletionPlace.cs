using System.CommandLine;
using Ravel.Cli.Parsing;

namespace Ravel.Cli.Shell;

/// <summary>Where on a command line the cursor stands.</summary>
/// <param name="Command">The command that has been typed so far.</param>
/// <param name="Option">The option whose value comes next.</param>
/// <param name="Operands">How many operands have been typed.</param>
/// <param name="IsGuests">What comes next belongs to the guest's command, which nothing is known of.</param>
internal sealed record CompletionPlace(CliCommand Command, Option? Option, int Operands, bool IsGuests)
{
    public static CompletionPlace Find(CliCommand root, IReadOnlyList<string> before)
    {
        var command = root;
        var operands = 0;
        Option? pending = null;
        foreach (var word in before)
        {
            if (pending is not null)
            {
                pending = null;
            }
            else if (word.Length > 1 && word[0] == '-' && !(command.PassesThrough && operands > 0))
            {
                // In a bundle such as -dp the last letter is the one that may want a value.
                var name = word.StartsWith("--", StringComparison.Ordinal) ? word : $"-{word[^1]}";
                if (command.FindOption(name) is { } option && option.Arity.MaximumNumberOfValues > 0)
                    pending = option;
            }
            else if (command.FindSubcommand(word) is { } next)
            {
                command = next;
            }
            else
            {
                operands++;
            }
        }
        return new CompletionPlace(command, pending, operands, command.PassesThrough && operands > 0);
    }
}
