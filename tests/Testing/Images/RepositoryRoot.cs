namespace Ravel.Testing.Images;

/// <summary>The checkout the tests were built from, found from the assembly upwards by the solution file.</summary>
public static class RepositoryRoot
{
    public static string Path { get; } = Find();

    private static string Find()
    {
        for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(directory.FullName, "Ravel.slnx")))
                return directory.FullName;
        }
        throw new InvalidOperationException($"{AppContext.BaseDirectory} is not inside a checkout of Ravel.");
    }
}
