/** `asfaleia start` with a relay and a tor that the test plays; test/e2e/start.test.ts starts real ones. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { runCommand } from '../../../src/cli/command.ts'
import { CliError } from '../../../src/cli/program/error.ts'
import type * as upkeep from '../../../src/cli/start/upkeep.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

const played = vi.hoisted(() => ({
  /** The arguments of the relay, how it ends, and whether it was stopped. */
  args: [] as readonly string[],
  ended: Promise.withResolvers<never>(),
  isStopped: false,
  /** The names that the relay got. */
  names: [] as string[],
  keepTor: (async () => {}) as typeof upkeep.keepTor,
}))
vi.mock('../../../src/cli/start/relay-process.ts', () => ({
  startRelay: (args: readonly string[]) => {
    played.args = args
    return {
      ready: Promise.resolve('127.0.0.1:3308'),
      ended: played.ended.promise,
      stop: async () => void (played.isStopped = true),
    }
  },
}))
vi.mock('../../../src/cli/start/name.ts', () => ({
  setName: async (_file: string, name: string) => void played.names.push(name),
}))
vi.mock('../../../src/cli/start/upkeep.ts', async (original) => {
  const keepTor: typeof upkeep.keepTor = (...args) => played.keepTor(...args)
  return { ...(await original<typeof upkeep>()), keepTor }
})

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asf-start-'))
  Object.assign(played, { args: [], ended: Promise.withResolvers(), isStopped: false, names: [] })
})
afterEach(() => rmSync(folder, { recursive: true }))

test.each([
  ['says that tor is missing', [], true],
  ['does not look for tor with --no-tor', ['--no-tor'], false],
])('serves this machine, and %s', async (_what, options, isMissed) => {
  const io = createTestIo({ PATH: folder, XDG_RUNTIME_DIR: folder, HOME: folder })
  const doors = ['--tcp', '127.0.0.1:0', '--operator', '127.0.0.1:0']
  const ended = runCommand(['start', ...doors, ...options], io)
  await Promise.race([io.untilErr('the relay is running, for this machine only'), ended])
  io.interrupt()
  expect(await ended).toBe(0)
  expect(io.err().includes('tor is not installed')).toBe(isMissed)
})

describe('with a tor', () => {
  const ONION = `${'a'.repeat(56)}.onion`
  let io: TestIo
  let tor: { service: upkeep.Service; over: AbortSignal; listener: upkeep.TorListener }
  let begun: PromiseWithResolvers<void>
  let torEnds: PromiseWithResolvers<void>

  beforeEach(() => {
    writeFileSync(join(folder, 'tor'), '#!/bin/sh\necho "relay: yes"\necho "pow: yes"\n', { mode: 0o700 })
    io = createTestIo({ PATH: folder, XDG_RUNTIME_DIR: folder, HOME: folder })
    begun = Promise.withResolvers()
    torEnds = Promise.withResolvers()
    played.keepTor = async (service, _io, _screen, over, listener) => {
      tor = { service, over, listener }
      over.addEventListener('abort', () => torEnds.resolve())
      begun.resolve()
      await torEnds.promise
    }
  })

  async function begin(...options: string[]): Promise<{ readonly ended: Promise<number> }> {
    const ended = runCommand(['start', '--tcp', '127.0.0.1:0', '--operator', '127.0.0.1:0', '--state', join(folder, 's'), ...options], io)
    await Promise.race([begun.promise, ended])
    return { ended }
  }

  test('prints the address of the service and the next commands once clients can find it, until it is interrupted', async () => {
    const { ended } = await begin()
    expect(io.err()).toContain('asfaleia: the relay is running; Tor is starting')
    const { service } = tor
    expect(service).toMatchObject({ pow: true, state: join(folder, 's'), hostname: join(folder, 's/onion/hostname') })
    expect(played.args.join(' ')).toBe(
      `--tcp 127.0.0.1:0 --operator 127.0.0.1:0 --unix ${service.raw} --http unix:${service.http} --proxy unix,http ` +
        `--name-file ${service.nameFile} --tor-control unix:${join(service.tor, 'control')}`,
    )
    await tor.listener.onReachable(ONION, '127.0.0.1:4711')
    expect(played.names).toEqual([ONION])
    expect(io.err()).toContain('asfaleia: the onion service is reachable\n')
    expect(io.out()).toContain(`\n${ONION}\n\n`)
    expect(io.out()).toContain(`  asfaleia get --relay ${ONION}:3308 --socks 127.0.0.1:4711 --key my-key\n`)
    expect([tor.over.aborted, played.isStopped]).toEqual([false, false])
    io.interrupt()
    expect(await ended).toBe(0)
    expect([tor.over.aborted, played.isStopped]).toEqual([true, true])
    expect(readdirSync(folder)).toEqual(['tor'])
  })

  test('names no SOCKS port if it is the usual one', async () => {
    const { ended } = await begin()
    await tor.listener.onReachable(ONION, '127.0.0.1:9050')
    expect(io.out()).toContain(`  asfaleia get --relay ${ONION}:3308 --key my-key\n`)
    io.interrupt()
    await ended
  })

  test('serves this machine under the name localhost while there is no network', async () => {
    const { ended } = await begin()
    await tor.listener.onNoNetwork()
    expect(played.names).toEqual(['localhost'])
    expect(io.err()).toMatch(/Tor makes no progress[^]*until then, the relay runs for this machine only, under the name localhost\n$/)
    expect(io.out()).toContain('  asfaleia get --relay localhost:3308 --key my-key\n')
    io.interrupt()
    expect(await ended).toBe(0)
  })

  test('ends with the relay, and stops tor', async () => {
    const { ended } = await begin()
    played.ended.reject(new CliError('the relay ended'))
    expect(await ended).toBe(1)
    expect(io.err()).toContain('asfaleia: error: the relay ended\n')
    expect([tor.over.aborted, played.isStopped]).toEqual([true, true])
  })

  test('ends with the reason if tor cannot be kept, and stops the relay', async () => {
    const { ended } = await begin()
    torEnds.reject(new CliError('cannot use the folder'))
    expect(await ended).toBe(1)
    expect(io.err()).toContain('asfaleia: error: cannot use the folder\n')
    expect(played.isStopped).toBe(true)
  })

  test('without proof-of-work defences asks for none', async () => {
    writeFileSync(join(folder, 'tor'), '#!/bin/sh\necho "pow: no"\n', { mode: 0o700 })
    const { ended } = await begin()
    expect(tor.service.pow).toBe(false)
    io.interrupt()
    await ended
  })
})
