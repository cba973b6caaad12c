/**
 * Measures how long a handover takes and how long no client can connect: two relays as processes, the first
 * full.
 * `node bench/handover.ts [PAYLOAD]`: characters of a payload, 1368 by default (a kilobyte of ciphertext).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ASFALEIA, start } from '../test/support/process.ts'
import { connectRaw, createPerson } from '../test/support/wire.ts'

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const payload = Number(process.argv[2] ?? 1_368)
const folder = mkdtempSync(join(tmpdir(), 'asfaleia-bench-'))
const relay = (tcp: string) =>
  start([
    ...ASFALEIA,
    'relay',
    '--name',
    'localhost',
    '--tcp',
    tcp,
    '--http',
    'off',
    '--operator',
    'off',
    '--log-level',
    'info',
    '--memory',
    '256M',
    '--mailbox-messages',
    '100000',
    '--per-sender',
    '32G',
    '--handover',
    join(folder, 'handover'),
  ])
const first = relay('127.0.0.1:0')
const [, port] = await first.until(/^tcp 127\.0\.0\.1:(\d+)\n(?:.*\n)*ready$/m)
const address = { kind: 'tcp', host: '127.0.0.1', port: Number(port) } as const

const wire = await connectRaw(address)
let held = 0
for (let full = false; !full;) {
  const person = createPerson()
  const token = await wire.login(createPerson())
  for (let batch = 0; batch < 60 && !full; batch++) {
    wire.send(`3;${token};${person.line};${'A'.repeat(payload)}\n`.repeat(500))
    for (let i = 0; i < 500; i++) {
      const answer = (await wire.line())!
      if (answer.startsWith('13;')) held++
      else if (answer.startsWith('99;relay-full')) full = true
      else throw new Error(answer.slice(0, 60))
    }
  }
}

/** The times and outcomes of connections that send PING. */
const looks: { at: number; outcome: 'served' | 'restarting' | 'refused' }[] = []
const state = { looking: true }
const looker = (async () => {
  while (state.looking) {
    const at = performance.now()
    const outcome = await new Promise<'served' | 'restarting' | 'refused'>((resolve) => {
      const socket = connect(address.port, address.host, () => socket.write('7\n'))
      socket.on('data', (bytes: Buffer) => resolve(bytes.toString().startsWith('17') ? 'served' : 'restarting'))
      socket.on('error', () => resolve('refused'))
      socket.on('close', () => resolve('refused'))
      socket.on('data', () => socket.destroy())
    })
    looks.push({ at, outcome })
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
})()
const second = relay(`127.0.0.1:${address.port}`)
await second.until(/^ready$/m, 120)
await first.finished
state.looking = false
await looker
const { stderr } = await second.end()
const { stderr: before } = await first.finished
const timeOf = (log: string, event: string): number =>
  Date.parse(/"time":"([^"]+)"/.exec(log.split('\n').find((line) => line.includes(`"event":"${event}"`))!)![1]!)
const span = (outcome: 'restarting' | 'refused'): string => {
  const at = looks.flatMap((look, i) => (look.outcome === outcome ? [[look.at, looks[i + 1]?.at ?? look.at]] : []))
  return at.length === 0 ? 'never' : `${(at.at(-1)![1]! - at[0]![0]!).toFixed(0)} ms (${at.length} looks)`
}
say(`${held} messages of ${payload} characters, ${((held * payload) / 2 ** 20).toFixed(0)} MiB`)
say(
  `suspended until served by the next: ${timeOf(before, 'handed-over') - timeOf(before, 'handover-started')} ms, of that moving: ${timeOf(stderr, 'taken-over') - timeOf(stderr, 'taking-over')} ms`,
)
say(`answered restarting: ${span('restarting')}; could not connect: ${span('refused')}`)
rmSync(folder, { recursive: true })
