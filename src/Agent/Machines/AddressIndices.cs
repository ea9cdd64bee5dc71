using Ravel.Agent.Guests;
using Ravel.Contracts.Api;

namespace Ravel.Agent.Machines;

/// <summary>Gives machines numbers for their addresses, from 1; one given back is given again as late as possible.</summary>
internal sealed class AddressIndices
{
    private readonly Lock _lock = new();
    private readonly HashSet<int> _taken;
    private readonly int _max;
    private int _last;

    public AddressIndices(int max, IEnumerable<int> taken)
    {
        _max = max;
        _taken = [.. taken];
        _last = _taken.Count == 0 ? 0 : _taken.Max();
    }

    /// <exception cref="InstanceException">All are taken.</exception>
    public int Take()
    {
        lock (_lock)
        {
            if (_taken.Count >= _max)
                throw new InstanceException(ProblemCodes.InsufficientCapacity, $"All {_max} addresses of this node are taken.");
            do
                _last = _last >= _max ? 1 : _last + 1;
            while (!_taken.Add(_last));
            return _last;
        }
    }

    public void Give(int index)
    {
        lock (_lock)
            _taken.Remove(index);
    }
}
