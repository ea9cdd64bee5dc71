using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;

namespace Ravel.Cli.Machines;

/// <summary>Environment variables from <c>--env-file</c> and <c>-e</c>; the latter win, and a later one beats an earlier.</summary>
internal static class VariableOptions
{
    public static Dictionary<string, string>? Read(string[] files, string[] options, Func<string, string?> environment)
    {
        var variables = new Dictionary<string, string>();
        foreach (var file in files)
        {
            foreach (var line in ReadLines(file))
            {
                // As Docker reads it: no quoting, '#' begins a comment line.
                var text = line.TrimStart();
                if (text.Length > 0 && text[0] != '#')
                    Add(file, text);
            }
        }
        foreach (var option in options)
            Add("--env", option);
        return variables.Count == 0 ? null : variables;

        void Add(string subject, string text)
        {
            try
            {
                if (Values.Variable(text, environment) is { } variable)
                    variables[variable.Key] = variable.Value;
            }
            catch (FormatException e)
            {
                throw CliException.Usage(subject, e.Message);
            }
        }
    }

    private static string[] ReadLines(string file)
    {
        try
        {
            return File.ReadAllLines(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CliException.Usage("--env-file", $"{file} cannot be read: {e.Message.TrimEnd('.')}");
        }
    }
}
