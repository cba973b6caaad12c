/** The relays from which a messenger receives, and what it reports of them. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as later } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { OutboxEntry } from '../../../src/client/delivery/entry.ts'
import type { Messenger } from '../../../src/client/messenger/messenger.ts'
import type { OutboxStore } from '../../../src/client/messenger/options.ts'
import { makePerson, messengerOf } from '../../support/people.ts'
import { startTestRelay } from '../../support/relay.ts'

/** A server that takes connections and says nothing. */
async function startSilence(): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => void sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(server, 'listening')
  return `localhost:${(server.address() as AddressInfo).port}`
}

test('a relay that the user leaves and takes again is reported anew', async () => {
  const relay = await startTestRelay()
  onTestFinished(() => relay.close())
  const silent = await startSilence()
  const messenger = messengerOf(makePerson('alice', relay.address), [])
  onTestFinished(() => messenger.close())
  const states: string[] = []
  void (async () => {
    for await (const event of messenger.events()) if (event.kind === 'relay' && event.relay === silent) states.push(event.state)
  })()
  for (let times = 1; times <= 2; times++) {
    messenger.receiveFrom(silent)
    await expect.poll(() => states).toEqual(Array.from({ length: times }, () => 'connecting'))
    messenger.leaveRelay(silent)
  }
})

test('no relay is dialled before the stores are loaded, and none if one cannot be', async () => {
  const relay = await startTestRelay()
  onTestFinished(() => relay.close())
  const loaded = Promise.withResolvers<readonly OutboxEntry[]>()
  const open = (load: OutboxStore['load']): Messenger => {
    const outbox = { load, save: async () => {} }
    const messenger = messengerOf(makePerson('alice', relay.address), [], { outbox })
    onTestFinished(() => messenger.close())
    return messenger
  }
  const messenger = open(() => loaded.promise)
  const broken = open(() => Promise.reject(new Error('the disk is broken')))
  await expect(broken.ready).rejects.toThrow('the disk is broken')
  await later(100)
  expect(relay.relay.snapshot().counters.accepted).toEqual({ tcp: 0, unix: 0, http: 0 })
  loaded.resolve([])
  await messenger.ready
  await expect.poll(() => relay.relay.snapshot().subscribers).toBe(1)
})
