/**
 * A client as a user of the package writes it: a profile on the disk, opened by `openProfile`. It reads orders as lines
 * of JSON and prints events as lines of JSON. `node bot.mjs LIBRARY FOLDER FILES`; ASFALEIA_HOME names the profile.
 */
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import type * as Library from '../../src/client/index.ts'

export type Order =
  | { readonly kind: 'text'; readonly id: string; readonly to: string; readonly text: string; readonly isReply: boolean }
  | { readonly kind: 'file'; readonly to: string; readonly path: string }

export type Told =
  | { readonly kind: 'ready' }
  | { readonly kind: 'state'; readonly id: string; readonly state: string }
  | { readonly kind: 'shown'; readonly from: string; readonly text: string; readonly gap: boolean; readonly late: boolean }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'note'; readonly text: string }

const [, , library = '', files = ''] = process.argv
const { openProfile } = (await import(library)) as typeof Library
const tell = (told: Told): Promise<void> => new Promise((done) => void process.stdout.write(`${JSON.stringify(told)}\n`, () => done()))
const note = (text: string): void => void tell({ kind: 'note', text })

const profile = await openProfile({
  name: 'bot',
  files,
  onFile: (_offer, path) => void tell({ kind: 'file', path }),
  onNotice: note,
})
const { messenger } = profile
/** By name: the id of the last message of a contact. */
const last = new Map<string, string>()

async function obey(order: Order): Promise<void> {
  const contact = profile.contacts().find(({ name }) => name === order.to)
  if (contact === undefined) throw new Error(`no contact ${order.to}`)
  if (order.kind === 'file') {
    const bytes = await readFile(order.path)
    const name = basename(order.path)
    const source = { name, size: bytes.length, read: async (at: number, length: number) => bytes.subarray(at, at + length) }
    const { settled } = await messenger.sendFile(contact, source)
    const state = await settled
    if (state === 'done') void tell({ kind: 'state', id: basename(name, '.bin'), state: 'delivered' })
    else note(`file ${name}: ${state}`)
    return
  }
  const replyTo = order.isReply ? last.get(order.to) : undefined
  const delivery = messenger.send(contact, { type: 'text', text: order.text, ...(replyTo !== undefined && { replyTo }) })
  for (const next of [delivery.accepted, delivery.settled])
    void next.then((state) => {
      if (state !== 'waiting') void tell({ kind: 'state', id: order.id, state })
    })
}

async function receive(): Promise<void> {
  for await (const received of messenger.received()) {
    const { envelope, from, verdict, gap, late } = received
    if (verdict === 'genuine' && from !== undefined && envelope.content.type === 'text') {
      await tell({ kind: 'shown', from: from.name, text: envelope.content.text, gap: gap === true, late: late === true })
      last.set(from.name, envelope.id)
    } else if (verdict !== 'genuine') note(`a message is ${verdict}`)
    await received.done()
  }
}

let isEnding = false
async function end(): Promise<void> {
  if (isEnding) return
  isEnding = true
  await messenger.flush({ signal: AbortSignal.timeout(3_000) }).catch(() => {})
  await profile.close()
  process.exit(0)
}

process.on('SIGTERM', () => void end())
createInterface({ input: process.stdin, terminal: false }).on('line', (line) => {
  void obey(JSON.parse(line) as Order).catch((error: unknown) => note(String(error)))
})
void (async () => {
  for await (const event of messenger.events()) {
    if (event.kind === 'relay' && event.purpose === 'receive' && event.state === 'up') void tell({ kind: 'ready' })
    if (event.kind === 'not-kept' || event.kind === 'not-said' || event.kind === 'taken-over' || event.kind === 'forgotten')
      note(event.kind)
  }
})()
await receive()
