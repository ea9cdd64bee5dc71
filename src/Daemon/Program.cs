Console.Error.WriteLine("raveld: no role yet");
return 64;
