/** The relays from which a messenger receives, and what it reports of them. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
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
