/**
 * Guards the cost of a message without measuring time: memory is counted in bytes after a collection, and CPU
 * is compared with the floor (bench/floor.c), which takes turns with the relay in the same run. The bounds lie
 * far above the measured values, because they must hold on any machine, however busy.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runLoad, type Under } from '../../bench/load.ts'
import { openMailboxes } from '../../bench/login.ts'
import { measurePerson } from '../../bench/person.ts'
import { compile } from '../../bench/program.ts'
import { spread } from '../../bench/result.ts'
import { type Server, startServer } from '../../bench/server.ts'
import { MemoryMailboxes } from '../../src/mailbox/mailbox.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { missing } from '../support/programs.ts'

const PAYLOAD = 1_368

describe('memory', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = (): number => {
    // Collect twice: the first collection frees memory in the background, and the second waits for that.
    collect()
    collect()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }

  it('of a queued message is at most its characters plus 96 bytes', () => {
    const mailboxes = new MemoryMailboxes({
      limits: { ...DEFAULT_LIMITS, mailboxMessages: 10_000 },
      budget: 2 ** 30,
      randomBytes,
    })
    const payload = Buffer.alloc(PAYLOAD, 'A')
    // A power of two, because the tables double: they then reserve nothing for later messages.
    const messages = 2 ** 16
    const before = used()
    for (let n = 0; n < messages; n++) mailboxes.put(`mailbox ${n % 16}`, payload, 0)
    const each = (used() - before) / messages - PAYLOAD
    expect(mailboxes.size.messages).toBe(messages)
    expect(each).toBeGreaterThan(0)
    expect(each).toBeLessThan(96)
    mailboxes.eraseAll()
    expect((used() - before) / messages).toBeLessThan(0.15 * PAYLOAD)
  })
})

describe('memory of the relay', () => {
  it('for an idle person with 20 contacts is at most 30,000 bytes', { timeout: 120_000 }, async () => {
    const steps: number[] = []
    await measurePerson(1, (_step, _round, bytes) => steps.push(bytes))
    expect(steps).toHaveLength(3)
    for (const bytes of steps) expect(bytes).toBeGreaterThan(0)
    expect(steps.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(30_000)
  })
})

describe('CPU compared with the floor', () => {
  const absent = missing('cc', 'taskset')
  const servers: Server[] = []
  let folder = ''
  let relay: Under
  let floor: Under

  beforeAll(async () => {
    if (absent !== undefined) return
    folder = mkdtempSync(join(tmpdir(), 'asf-bench-'))
    const load = compile('load', folder)
    const program = compile('floor', folder)
    for (const name of ['relay', 'floor'] as const) servers.push(await startServer(name, program))
    const [first, second] = servers as [Server, Server]
    relay = { load, protocol: 'asf', server: first, mailboxes: await openMailboxes(first.port, 16) }
    const mailboxes = relay.mailboxes.map(({ token, receiver }, n) => ({ token: `${token}.${n}`, receiver: `${receiver}.${n}` }))
    floor = { load, protocol: 'asf', server: second, mailboxes }
    // Warm up, so that the JIT has compiled the code.
    await runLoad(relay, 'store', { messages: 32_000 })
    await runLoad(relay, 'drain', { messages: 32_000 })
    await runLoad(relay, 'push', { messages: 8_000, window: 4 })
  })

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()))
    if (folder !== '') rmSync(folder, { recursive: true })
  })

  it.for([
    // Measured ratios: 3 to 5, 3 to 4, and 3 to 5.
    ['to store', 10, ['store', { messages: 32_000 }], ['drain', { messages: 32_000 }]],
    ['to drain', 8, ['drain', { messages: 32_000 }], ['store', { messages: 32_000 }]],
    ['to push', 7, ['push', { messages: 8_000, window: 4 }], undefined],
  ] as const)(
    'of a message %s is at most %i times that of the floor',
    { timeout: 60_000 },
    async ([what, times, [mode, options], other], context) => {
      if (absent !== undefined) context.skip(absent)
      const ratios: number[] = []
      for (let round = 0; round < 3; round++) {
        const costs: number[] = []
        for (const under of [relay, floor]) {
          if (what === 'to drain') await runLoad(under, ...other)
          costs.push((await runLoad(under, mode, options)).cpuMicroseconds)
          if (what === 'to store') await runLoad(under, ...other)
        }
        ratios.push(costs[0]! / costs[1]!)
      }
      const { median } = spread(ratios)!
      expect(median).toBeGreaterThan(0)
      expect(median).toBeLessThan(times)
    },
  )
})
