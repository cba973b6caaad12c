/** Diagnoses from tor's answers; test/e2e/trouble.test.ts looks at the answers of real tors. */
import { describe, expect, test } from 'vitest'
import { askTrouble, describeTrouble, type TorTrouble } from '../../../src/cli/talk/diagnosis.ts'
import type { RelayErrorCode } from '../../../src/client/wire/error.ts'
import { listen, tor } from '../../support/tor-control.ts'

const NOW = 1_790_000_000
const WELL: TorTrouble = { bootstrap: 100, phase: 'done', reason: undefined, valid: [NOW - 3_600, NOW + 7_200], socks: ['127.0.0.1:9050'] }

describe('describeTrouble explains a failure', () => {
  test.each<[string, RelayErrorCode, Partial<TorTrouble>, string, RegExp | undefined]>([
    ['of a connected tor, without more to say', 'onion-not-found', {}, '127.0.0.1:9050', undefined],
    ['by timeout of a connected tor', 'connect-timeout', {}, '127.0.0.1:9050', /though tor is connected to its network\n.*ExtendedErrors/],
    ['of another tor, without a guess', 'connect-timeout', { bootstrap: 5 }, '127.0.0.1:9150', undefined],
    ['at a port that is not tor’s', 'proxy-down', {}, '127.0.0.1:9150', /--socks 127\.0\.0\.1:9050/],
    [
      'while tor is connecting',
      'connect-timeout',
      { bootstrap: 45, phase: 'requesting_descriptors' },
      'localhost:9050',
      /45 %, requesting_descriptors\nwait/,
    ],
    ['without a network route', 'connect-timeout', { bootstrap: 5, phase: 'conn', reason: 'NOROUTE' }, '127.0.0.1', /5 %, conn\n.*NOROUTE/],
    [
      'by a wrong clock that tor reports',
      'connect-timeout',
      { bootstrap: 30, phase: 'loading_status', reason: 'CLOCK_SKEW', valid: undefined },
      '127.0.0.1:9050',
      /clock of this machine is wrong\ncheck the clock: it says 2026-09-21 14:13 UTC$/,
    ],
    [
      'by a clock that is behind',
      'onion-not-found',
      { valid: [NOW + 90_000, NOW + 100_800] },
      '127.0.0.1:9050',
      /at least 1 day behind tor’s directory\n.*valid from 2026-09-22 15:13 to 2026-09-22 18:13/,
    ],
    [
      'by a clock that is ahead',
      'onion-not-found',
      { valid: [NOW - 200_000, NOW - 190_000] },
      '127.0.0.1:9050',
      /by the clock of this machine, .* out of date\ncheck the clock/,
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

describe('askTrouble', () => {
  const play = tor({ methods: 'NULL' })
  const answer = (answers: Readonly<Record<string, string>>) =>
    listen((command) => {
      const [verb, key = ''] = command.split(' ')
      return verb === 'GETINFO' ? `250-${key}=${answers[key] ?? ''}\r\n250 OK\r\n` : play(command)
    })

  test('reads the answers of the first tor that answers', async () => {
    const control = await answer({
      'status/bootstrap-phase':
        'WARN BOOTSTRAP PROGRESS=45 TAG=requesting_descriptors SUMMARY="Asking" WARNING="No route" REASON=NOROUTE COUNT=1',
      'consensus/valid-after': '2026-09-21 12:00:00',
      'consensus/valid-until': '2026-09-21 15:00:00',
      'net/listeners/socks': '"127.0.0.1:9050" "unix:/run/tor/socks"',
    })
    const since = Date.UTC(2026, 8, 21, 12) / 1_000
    expect(await askTrouble([{ kind: 'unix', path: '/nowhere/control' }, control])).toEqual({
      bootstrap: 45,
      phase: 'requesting_descriptors',
      reason: 'NOROUTE',
      valid: [since, since + 10_800],
      socks: ['127.0.0.1:9050', 'unix:/run/tor/socks'],
    })
  })

  test('bears answers without these facts, and the lack of any tor', async () => {
    expect(await askTrouble([await answer({})])).toEqual({ bootstrap: 0, phase: 'other', reason: undefined, valid: undefined, socks: [] })
    expect(await askTrouble([{ kind: 'unix', path: '/nowhere/control' }])).toBeUndefined()
  })
})
