/**
 * Seeds that found a defect once, each with the defect. They run before all new ones. A change of plan.ts or of the
 * network changes the scenario of each seed; the unit tests of the mended code keep the defects away.
 */
export const NAMED: Readonly<Record<string, string>> = {
  'a-1': 'a client ran a timer a millisecond while a relay was being looked at',
  'a-3': 'a power failure made a message that was shown before appear as new',
  'b-9': 'copies at two relays came in the wrong order after a restart, without a mark',
}
