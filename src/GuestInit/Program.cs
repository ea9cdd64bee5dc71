using Ravel.GuestInit;
using Ravel.GuestInit.Archives;
using Ravel.GuestInit.Setup;
using Ravel.Linux.Guest;

if (Environment.ProcessId != 1)
    return ArchiveProgram.Run(args);

// PID 1 of a guest. Whatever goes wrong, the reason has to be on the console: when this process ends, the kernel panics.
try
{
    EarlyMounts.Mount();
    Descriptors.UseAsStandard("/dev/console");
    Children.IgnoreBrokenPipes();
    FileSystems.SetUmask(0x12);
    new Init(GuestModuleList.Read()).Run();
}
catch (Exception e)
{
    GuestConsole.Say($"cannot go on: {e.GetType().Name}: {e.Message}");
}
return 1;
