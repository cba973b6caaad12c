/**
 * The units of deploy/systemd: systemd understands every line, rates the relay's sandbox, and they start the
 * relay with valid options.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../src/config/config.ts'
import { run } from './support/process.ts'
import { missing } from './support/programs.ts'

const UNITS = join(import.meta.dirname, '../deploy/systemd')
const unit = readFileSync(join(UNITS, 'asfaleia-relay.service'), 'utf8')
const doors = readFileSync(join(UNITS, 'asfaleia-doors.service'), 'utf8')
const dropIn = readFileSync(join(UNITS, 'tor-asfaleia.conf'), 'utf8')
const [, command = ''] = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(unit) ?? []
const words = command.replaceAll('\\\n', ' ').split(/\s+/)

function place(name: string, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

test("the relay's unit has an exposure of at most 0.5 of 10", async (ctx) => {
  const why = missing('systemd-analyze')
  if (why !== undefined) ctx.skip(why)
  const rate = async (text: string): Promise<number> => {
    const { stdout } = await run(['systemd-analyze', 'security', '--no-pager', '--offline=true', place('asfaleia-relay.service', text)])
    return Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1])
  }
  expect(await rate(unit)).toBeLessThanOrEqual(0.5)
  // Prove that the rating depends on the unit's lines.
  expect(await rate(unit.replace(/^PrivateNetwork=yes$/m, '').replace(/^CapabilityBoundingSet=$/m, ''))).toBeGreaterThan(2)
})

test('systemd understands every line of every unit', async (ctx) => {
  const why = missing('systemd-analyze')
  if (why !== undefined) ctx.skip(why)
  const verify = async (name: string, text: string): Promise<string> => {
    const { stdout, stderr } = await run(['systemd-analyze', 'verify', '--man=no', place(name, text)])
    // Ignore problems of other units of the machine.
    return (stdout + stderr)
      .split('\n')
      .filter((line) => line.includes(name))
      .join('\n')
  }
  expect(await verify('asfaleia-doors.service', doors)).toBe('')
  // Once installed, the unit finds the other unit beside it; here it stands alone.
  const alone = unit.replace(words[0]!, process.execPath).replaceAll(/asfaleia-doors\.service/g, '')
  expect(await verify('asfaleia-relay.service', alone)).toBe('')
  // A drop-in alone has no command.
  const whole = dropIn.replace('[Service]', '[Service]\nExecStart=/bin/true')
  expect(await verify('asfaleia-tor-test.service', whole)).toBe('')
  expect(await verify('asfaleia-tor-test.service', whole.replace('MemorySwapMax', 'MemorySwapMost'))).toContain('MemorySwapMost')
})

test('the unit starts the relay with --strict and valid options', () => {
  expect(words.slice(1, 3)).toEqual(['/usr/local/lib/node_modules/asfaleia/dist/cli/main.js', 'relay'])
  const parsed = parseConfig({ env: {}, argv: words.slice(3), readFile: () => '' })
  expect(parsed).toMatchObject({
    config: { strict: true, allowUnsafe: [], tcp: undefined, unix: { path: '/run/asfaleia/raw' }, nameFile: '%d/hostname' },
  })
})

test("the unit's sockets are those of torrc.example", () => {
  const torrc = readFileSync(join(import.meta.dirname, '../torrc.example'), 'utf8')
  const ports = [...torrc.matchAll(/^HiddenServicePort \d+ unix:(\S+)$/gm)].map(([, path]) => path)
  expect(ports).toEqual(['/run/asfaleia/raw', '/run/asfaleia/http'])
  expect(unit).toContain(`LoadCredential=hostname:${/^HiddenServiceDir (\S+)$/m.exec(torrc)?.[1]}/hostname`)
})
