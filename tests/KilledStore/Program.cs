using System.Diagnostics;
using System.Globalization;
using Ravel.KilledStore;

// One operation of the image store in a process of its own, which is killed with SIGKILL right before its Nth step on disk.
// Prints each step before it is done.
if (args is not [var number, .. var operation])
{
    Console.Error.WriteLine("Usage: KilledStore STEP OPERATION...");
    return 64;
}
var last = int.Parse(number, CultureInfo.InvariantCulture);
var count = 0;
var turn = new Lock();
await StoreOperation.RunAsync(operation, step =>
{
    // Steps of several threads are counted one by one.
    lock (turn)
    {
        Console.WriteLine(step);
        Console.Out.Flush();
        if (++count == last)
            Process.GetCurrentProcess().Kill();
    }
});
return 0;
