import { once } from 'node:events'
import { closeSync, existsSync, openSync, readdirSync, readSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer as createControl } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startOperator } from '../../../src/operator/http.ts'
import { asfaleia } from '../../support/command.ts'
import { scratch, writeService } from '../../support/service.ts'
import { createSnapshot } from '../../support/snapshot.ts'

async function relay(unix?: string): Promise<{ operator: string; panics: () => number }> {
  let panics = 0
  const address = unix === undefined ? ({ kind: 'tcp', host: '127.0.0.1', port: 0 } as const) : ({ kind: 'unix', path: unix } as const)
  const operator = await startOperator(address, {
    snapshot: () => createSnapshot(),
    startTime: 0,
    uptime: () => 0,
    version: '1',
    panic: () => void panics++,
  })
  onTestFinished(() => operator.close())
  const taken = operator.address
  return { operator: taken.kind === 'unix' ? `unix:${taken.path}` : `${taken.host}:${taken.port}`, panics: () => panics }
}

test('panic wipes the relay over loopback and over a unix socket', async () => {
  for (const unix of [undefined, join(scratch(), 'o.sock')]) {
    const { operator, panics } = await relay(unix)
    expect(await asfaleia(['panic', '--operator', operator])).toEqual({ code: 0, out: 'the relay erased everything\n', err: '' })
    expect(panics()).toBe(1)
  }
})

describe('panic --keys', () => {
  test('overwrites and removes the keys, keeps foreign files, and says to stop tor', async () => {
    const { operator } = await relay()
    const { folder } = writeService(scratch())
    writeFileSync(join(folder, 'mine'), '')
    // An open descriptor shows what happened to the file's content.
    const opened = openSync(join(folder, 'hs_ed25519_secret_key'), 'r')
    onTestFinished(() => closeSync(opened))
    const secret = Buffer.alloc(96)
    readSync(opened, secret, 0, 96, 0)
    const { code, out, err } = await asfaleia(['panic', '--operator', operator, '--keys', folder])
    expect([code, out]).toEqual([
      0,
      `the relay erased everything\nthe keys in ${folder} are destroyed; other files in the folder were left untouched\n`,
    ])
    expect(err).toContain('tor keeps the keys in memory until it ends')
    expect(readdirSync(folder)).toEqual(['mine'])
    const now = Buffer.alloc(96)
    expect(readSync(opened, now, 0, 96, 0)).toBe(96)
    for (let at = 0; at < 96; at += 16) expect(now.includes(secret.subarray(at, at + 16))).toBe(false)
  })

  test('destroys the secret key first, even if the rest of the folder is broken', async () => {
    const { operator } = await relay()
    const { folder } = writeService(scratch())
    rmSync(join(folder, 'authorized_clients'), { recursive: true })
    writeFileSync(join(folder, 'authorized_clients'), 'no folder')
    expect(await asfaleia(['panic', '--operator', operator, '--keys', folder])).toMatchObject({
      code: 1,
      err: expect.stringContaining('authorized_clients') as string,
    })
    expect(readdirSync(folder).filter((name) => name.includes('secret') || name.startsWith('.'))).toEqual([])
  })

  test('continues an interrupted destruction', async () => {
    const { operator } = await relay()
    const { folder } = writeService(scratch())
    renameSync(join(folder, 'hs_ed25519_secret_key'), join(folder, '.destroyed-0123456789abcdef'))
    expect(await asfaleia(['panic', '--operator', operator, '--keys', folder])).toMatchObject({
      code: 0,
      out: expect.stringContaining('are destroyed') as string,
    })
    expect(existsSync(folder)).toBe(false)
  })

  test('tries each part even if another fails', async () => {
    const { folder } = writeService(scratch())
    const heard: string[] = []
    const tor = createControl((socket) => {
      socket.setEncoding('latin1').on('data', (text: string) => {
        heard.push(text.trim())
        socket.write(text.startsWith('PROTOCOLINFO') ? '250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n' : '250 OK\r\n')
      })
    }).listen(0, '127.0.0.1')
    await once(tor, 'listening')
    onTestFinished(() => void tor.close())
    const control = `127.0.0.1:${(tor.address() as AddressInfo).port}`
    const { code, out, err } = await asfaleia(['panic', '--operator', 'unix:/nowhere/o.sock', '--keys', folder, '--tor-control', control])
    expect([code, out]).toEqual([69, `the keys in ${folder} are destroyed\ntor has ended\n`])
    expect(err).toContain('error: no relay answers at the operator address\n')
    expect(heard.at(-1)).toBe('SIGNAL HALT')
    expect(existsSync(folder)).toBe(false)
  })

  test('reports a folder without keys and touches nothing in it', async () => {
    const { operator, panics } = await relay()
    const folder = scratch()
    writeFileSync(join(folder, 'hostname'), 'mine')
    const { code, err } = await asfaleia(['panic', '--operator', operator, '--keys', folder])
    expect([code, panics()]).toEqual([1, 1])
    expect(err).toContain('holds no keys of an onion service\n')
    expect(readdirSync(folder)).toEqual(['hostname'])
  })
})

test.each<[string, RequestListener]>([
  ['reports it', (_request, response) => void response.end('{"wiped":false}')],
  ['answers otherwise', (_request, response) => void response.end('hello')],
  ['refuses', (_request, response) => void response.writeHead(403).end()],
])('panic fails if the listener did not wipe and %s', async (_name, listener) => {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const operator = `127.0.0.1:${(server.address() as AddressInfo).port}`
  expect(await asfaleia(['panic', '--operator', operator])).toMatchObject({ code: 69, out: '' })
})

test.each([[['x']], [['--operator', 'off']], [['--operator', '10.0.0.1:1']], [['--tor-control', 'nowhere']]])(
  '%j is a usage error',
  async (argv) => {
    expect(await asfaleia(['panic', ...argv])).toMatchObject({ code: 2, out: '' })
  },
)
