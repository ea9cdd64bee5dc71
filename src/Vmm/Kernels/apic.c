
/*
 * Ravel's addition. "ravel.lapic_timer_khz=N": how fast the local APIC's timer counts, known to whoever emulates it. The kernel
 * then does not measure it for 100 ms, and on a busy host does not measure it wrong.
 */
static int __init ravel_lapic_timer_khz(char *arg)
{
	unsigned int khz;

	if (!arg || kstrtouint(arg, 10, &khz) || !khz)
		return -EINVAL;
	lapic_timer_period = (u64)khz * 1000 / HZ;
	return 0;
}
early_param("ravel.lapic_timer_khz", ravel_lapic_timer_khz);
