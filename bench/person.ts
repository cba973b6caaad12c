/**
 * The memory of people who are connected and idle at one relay: each with an inbox, read on one connection, and the
 * addresses of 20 contacts, read on another. The relay runs in this process; the clients run in another, so that only the
 * relay's memory grows here. Usage as a process: person.ts PORT PEOPLE. It takes a step for each line on standard input.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { createInterface } from 'node:readline'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { startTestRelay } from '../test/support/relay.ts'
import { createKey } from './key.ts'
import { logIn, Wire } from './login.ts'

const CONTACTS = 20
/** A first group makes the relay's one-time allocations. */
const WARM = 50
const PEOPLE = 200

export const STEPS = ['connections', 'proofs', 'subscriptions'] as const
export type Step = (typeof STEPS)[number]

/** @param record receives bytes a person, by step */
export async function measurePerson(rounds: number, record: (step: Step, round: number, bytes: number) => void): Promise<void> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const size = async (): Promise<number> => {
    for (let n = 0; n < 3; n++) {
      await delay(200)
      collect()
    }
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const count = 2 * (WARM + PEOPLE)
  const relay = await startTestRelay({ connections: 2 * count, unproven: 2 * count, memory: 2 ** 28 })
  try {
    for (let round = 1; round <= rounds; round++) {
      const first = await Group.start(relay.port, WARM)
      for (const _ of STEPS) await first.step()
      const group = await Group.start(relay.port, PEOPLE)
      let before = await size()
      for (const step of STEPS) {
        await group.step()
        const after = await size()
        record(step, round, (after - before) / PEOPLE)
        before = after
      }
      await group.end()
      await first.end()
    }
  } finally {
    await relay.close()
  }
}

/** People in a process of their own. */
export class Group {
  readonly #child
  readonly #lines: AsyncIterator<string>

  private constructor(port: number, people: number) {
    this.#child = spawn(process.execPath, [import.meta.filename, `${port}`, `${people}`], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  static async start(port: number, people: number): Promise<Group> {
    const group = new Group(port, people)
    await group.#hear()
    return group
  }

  async step(): Promise<void> {
    this.#child.stdin.write('step\n')
    await this.#hear()
  }

  async end(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.stdin.end()
    await exited
  }

  async #hear(): Promise<void> {
    if ((await this.#lines.next()).done === true) throw new Error('the clients ended')
  }
}

interface Client {
  readonly inbox: Wire
  readonly addresses: Wire
  token: string
}

async function ask(wire: Wire, packets: readonly string[], answer: string): Promise<void> {
  wire.write(packets.map((packet) => `${packet}\n`).join(''))
  for (const packet of packets) {
    const line = await wire.line()
    if (!line.startsWith(`${answer};`)) throw new Error(`${packet.slice(0, 2)} was refused: ${line}`)
  }
}

const LABELS = Array.from({ length: CONTACTS }, (_, n) => `${n}`)
const HELLO = '8;asfaleia/1;localhost'

async function serve(port: number, people: number): Promise<void> {
  const clients: Client[] = []
  const steps: Record<Step, () => Promise<void>> = {
    connections: async () => {
      for (let n = 0; n < people; n++) {
        const client = { inbox: await Wire.open(port), addresses: await Wire.open(port), token: '' }
        await ask(client.inbox, [HELLO], '18')
        await ask(client.addresses, [HELLO], '18')
        clients.push(client)
      }
    },
    proofs: async () => {
      for (const client of clients) {
        client.token = await logIn(client.inbox, createKey('decrypt-ed25519'))
        const claims = LABELS.map((label) => `34;${randomBytes(32).toString('base64url')};${label}`)
        await ask(client.addresses, claims, '12')
      }
    },
    subscriptions: async () => {
      for (const { inbox, addresses, token } of clients) {
        await ask(inbox, [`6;${token}`], '16')
        const subscriptions = LABELS.map((label) => `6;${label}`)
        await ask(addresses, subscriptions, '16')
      }
    },
  }
  process.stdout.write('ready\n')
  let next = 0
  for await (const _ of createInterface({ input: process.stdin })) {
    await steps[STEPS[next++]!]()
    process.stdout.write('done\n')
  }
  for (const { inbox, addresses } of clients) {
    inbox.close()
    addresses.close()
  }
}

if (process.argv[1] === import.meta.filename) await serve(Number(process.argv[2]), Number(process.argv[3]))
