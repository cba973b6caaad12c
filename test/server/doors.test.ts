/** The doors of a relay whose Node may keep the bytes of every connection, as `createSocketServer` reports it here. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Doors } from '../../src/server/doors.ts'
import type * as transport from '../../src/transport/socket.ts'

vi.mock('../../src/transport/socket.ts', async (original) => {
  const real = await original<typeof transport>()
  const createSocketServer: typeof real.createSocketServer = (onSocket, onKept) =>
    real.createSocketServer((socket) => {
      onKept?.()
      onSocket(socket)
    }, onKept)
  return { ...real, createSocketServer }
})

test('doors report once that bytes may be kept, however many connections come', async () => {
  const onKept = vi.fn<() => void>()
  const doors = new Doors({ proxy: [], connections: 8, onHeaderRefused: () => {}, onKept })
  onTestFinished(async () => {
    doors.destroySockets()
    await doors.close()
  })
  let count = 0
  const arrived = Promise.withResolvers<void>()
  const patience = { ms: 0, isOver: () => false }
  const taken = await doors.open('tcp', { kind: 'tcp', host: '127.0.0.1', port: 0 }, patience, () => {
    if (++count === 3) arrived.resolve()
  })
  if (taken.kind !== 'tcp') throw new Error('expected a port')
  for (let n = 0; n < 3; n++) {
    const socket = connect(taken.port, taken.host)
    socket.on('error', () => {})
    onTestFinished(() => void socket.destroy())
    await once(socket, 'connect')
  }
  await arrived.promise
  expect(onKept).toHaveBeenCalledTimes(1)
})
