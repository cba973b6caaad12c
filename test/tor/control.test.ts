import { randomBytes } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Control, openControl } from '../../src/tor/control.ts'
import { cookieFile, listen, type Script, tor } from '../support/tor-control.ts'

/** Opens a control connection to a tor that answers by `more`, and by the usual script to the rest. */
async function open(more: Script, options: { timeoutMs?: number; onEvent?: (event: string) => void } = {}): Promise<Control> {
  const usual = tor({ methods: 'NULL' })
  const address = await listen((command) => (/^(?:PROTOCOLINFO|AUTHENTICATE)/.test(command) ? usual(command) : more(command)))
  const control = await openControl(address, { timeoutMs: 10_000, ...options })
  if (control === undefined) throw new Error('the script refused')
  onTestFinished(() => control.close())
  return control
}

describe('a control connection', () => {
  test('authenticates with SAFECOOKIE and never sends the cookie', async () => {
    const cookie = randomBytes(32)
    const heard: string[] = []
    const address = await listen(tor({ methods: 'COOKIE,SAFECOOKIE', cookie, path: cookieFile(cookie) }), heard)
    const control = await openControl(address, { timeoutMs: 10_000 })
    expect(await control?.info('status/bootstrap-phase')).toContain('PROGRESS=80')
    control?.close()
    expect(heard.join().toLowerCase()).not.toContain(cookie.toString('hex'))
  })

  test.each<[string, Script]>([
    ['refuses the cookie', tor({ methods: 'SAFECOOKIE', path: '/nowhere/cookie' })],
    ['ends the connection', () => undefined],
    ['speaks another protocol', () => 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['stays silent', () => ''],
  ])('does not open if the server %s', async (_what, script) => {
    expect(await openControl(await listen(script), { timeoutMs: 100 })).toBeUndefined()
  })

  test('returns replies in the order of their commands, refusals among them', async () => {
    const control = await open((command) => (command === 'B' ? '552 no\r\n' : `250-${command}\r\n250 OK\r\n`))
    expect(await Promise.all(['A', 'B', 'C'].map((command) => control.ask(command)))).toEqual([
      { ok: true, lines: ['A', 'OK'] },
      { ok: false, lines: ['no'] },
      { ok: true, lines: ['C', 'OK'] },
    ])
  })

  test('returns the value of a key on one line or on many, and undefined if tor refuses it', async () => {
    const values: Record<string, string> = {
      'GETINFO one': '250-one=1 = 1\r\n250 OK\r\n',
      'GETINFO many': '250+many=\r\nfirst\r\n..second\r\n250 OK\r\n.\r\n250 OK\r\n',
    }
    const control = await open((command) => values[command] ?? '552 Unrecognized key\r\n')
    expect(await control.info('one')).toBe('1 = 1')
    expect(await control.info('many')).toBe('first\n.second\n250 OK')
    expect(await control.info('none')).toBeUndefined()
  })

  test('passes events to the listener, even between the lines of two replies', async () => {
    const events: string[] = []
    const control = await open(() => '650 BW 1 2\r\n250 OK\r\n650+NEWCONSENSUS\r\nr a\r\n.\r\n650 OK\r\n', {
      onEvent: (event) => events.push(event),
    })
    expect(await control.ask('SETEVENTS BW NEWCONSENSUS')).toEqual({ ok: true, lines: ['OK'] })
    await control.ask('x')
    expect(events.slice(0, 3)).toEqual(['BW 1 2', 'NEWCONSENSUS\nr a\nOK', 'BW 1 2'])
  })

  test.each<[string, Script]>([
    ['an event without a listener', () => '650 BW 1 2\r\n250 OK\r\n'],
    ['a line without a status', () => 'OK\r\n'],
    ['an endless line', () => '2'.repeat(100_000)],
    ['endless lines', () => '250-x\r\n'.repeat(20_000)],
    ['endless data', () => `250+x=\r\n${'x\r\n'.repeat(30_000)}`],
    ['the end of the connection', () => undefined],
    ['silence beyond the timeout', () => ''],
  ])('ends on %s, and every later command fails at once', async (_what, script) => {
    const control = await open(script, { timeoutMs: 300 })
    await expect(control.ask('x')).rejects.toThrow('the control connection ended')
    await expect(control.info('x')).rejects.toThrow('the control connection ended')
  })
})
