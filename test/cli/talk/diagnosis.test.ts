/** What is made of what tor says; what real tors say is looked at in test/e2e/trouble.test.ts. */
import { describe, expect, test } from 'vitest'
import { describeTrouble, type TorTrouble } from '../../../src/cli/talk/diagnosis.ts'
import type { RelayErrorCode } from '../../../src/client/wire/error.ts'

const NOW = 1_790_000_000
const WELL: TorTrouble = { bootstrap: 100, phase: 'done', reason: undefined, valid: [NOW - 3_600, NOW + 7_200], socks: ['127.0.0.1:9050'] }

describe('a failure', () => {
  test.each<[string, RelayErrorCode, Partial<TorTrouble>, string, RegExp | undefined]>([
    ['of a tor that is well', 'onion-not-found', {}, '127.0.0.1:9050', undefined],
    ['in time, of a tor that is well', 'connect-timeout', {}, '127.0.0.1:9050', /though tor is connected to its network\n.*ExtendedErrors/],
    ['of another tor than the one that was asked', 'connect-timeout', { bootstrap: 5 }, '127.0.0.1:9150', undefined],
    ['of a port that is not tor’s', 'proxy-down', {}, '127.0.0.1:9150', /--socks 127\.0\.0\.1:9050/],
    [
      'on the way',
      'connect-timeout',
      { bootstrap: 45, phase: 'requesting_descriptors' },
      'localhost:9050',
      /45 %, requesting_descriptors\nwait/,
    ],
    ['without a route', 'connect-timeout', { bootstrap: 5, phase: 'conn', reason: 'NOROUTE' }, '127.0.0.1', /5 %, conn\n.*NOROUTE/],
    [
      'of the clock, as tor says',
      'connect-timeout',
      { bootstrap: 30, phase: 'loading_status', reason: 'CLOCK_SKEW', valid: undefined },
      '127.0.0.1:9050',
      /clock of this machine is wrong\nset the clock: here it is 2026-09-21 14:13 UTC$/,
    ],
    [
      'of a clock that is behind',
      'onion-not-found',
      { valid: [NOW + 90_000, NOW + 100_800] },
      '127.0.0.1:9050',
      /behind, by 1 day at least.*\n.*valid from 2026-09-22 15:13 to 2026-09-22 18:13/,
    ],
    [
      'of a clock that is ahead',
      'onion-not-found',
      { valid: [NOW - 200_000, NOW - 190_000] },
      '127.0.0.1:9050',
      /out of date by this machine’s clock\nset the clock/,
    ],
  ])('%s', (_name, code, trouble, socks, expected) => {
    const error = describeTrouble(code, { ...WELL, ...trouble }, socks, NOW)
    if (expected === undefined) expect(error).toBeUndefined()
    else {
      expect(error?.exitCode).toBe(69)
      expect(`${error?.message}\n${error?.hint}`).toMatch(expected)
    }
  })
})
