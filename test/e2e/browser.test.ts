/**
 * Runs `asfaleia/core` in Chromium, bundled as a page's author would: the test vectors give the same results as
 * in Node, users talk over a relay's WebSocket, and a hostile relay learns nothing.
 */
import { readFileSync } from 'node:fs'
import { Decrypter } from 'age-encryption'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { SshIdentity } from '../../src/auth/age-ssh.ts'
import type * as ageSsh from '../../src/auth/age-ssh.ts'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import type { SshKey } from '../../src/auth/ssh-key.ts'
import type * as sshsig from '../../src/auth/sshsig.ts'
import type * as core from '../../src/client/core.ts'
import * as node from '../../src/client/index.ts'
import type { ProtocolError } from '../../src/protocol/errors.ts'
import { needs } from '../auth/openssh.ts'
import { bundle } from '../support/bundle.ts'
import { type Pages, startBrowser } from '../support/browser.ts'
import { challengePacket, startHostileRelay } from '../support/hostile-relay.ts'
import { missing } from '../support/programs.ts'
import { startTestRelay } from '../support/relay.ts'
import { bridge } from '../support/web.ts'

/** The public names plus those that only the vectors need. */
type Core = typeof core & typeof sshsig & typeof ageSsh
declare const asfaleia: Core

const MODULE = `
import * as core from 'asfaleia/core'
import * as sshsig from './dist/auth/sshsig.js'
import * as age from './dist/auth/age-ssh.js'
globalThis.asfaleia = { ...core, ...sshsig, ...age }
`

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as T
const vectors = {
  keys: read<{ accept: { line: string }[]; refuse: { name: string; line: string }[] }>('keys'),
  age: read<{ text: string; files: { name: string; line: string; privateKey: string; file: string }[] }>('age'),
  sshsig: read<{ namespace: string; message: string; good: { name: string; line: string; signature: string }[] }>('sshsig'),
}

const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

vi.setConfig({ testTimeout: 60_000 })

let pages: Pages | undefined
const closers: (() => unknown)[] = []

beforeEach(needs('chromium'))
beforeAll(async () => {
  if (missing('chromium') === undefined) pages = await startBrowser((await bundle(MODULE)).bytes)
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})
afterAll(() => pages?.close())

async function openPage(): Promise<Page> {
  const page = await pages!.open()
  closers.push(() => page.close())
  return page
}

async function startRelay() {
  const relay = await startTestRelay({ http: true })
  closers.push(() => relay.close())
  return relay
}

test('the page runs in a recent Chromium without the globals of Node', async () => {
  const page = await openPage()
  expect(Number(pages!.version.split('.')[0])).toBeGreaterThanOrEqual(137)
  expect(
    await page.evaluate(() => [typeof asfaleia.connectRelay, 'Buffer' in globalThis, 'process' in globalThis, 'subtle' in crypto]),
  ).toEqual(['function', false, false, true])
})

describe('the test vectors in a page', () => {
  test('of public keys give the results of Node', async () => {
    const lines = [...vectors.keys.accept, ...vectors.keys.refuse].map(({ line }) => line)
    const inNode = lines.map((line) => {
      try {
        const key = node.parsePublicKey(line)
        return [key.type, node.formatFingerprint(key.fingerprint), key.canDecrypt]
      } catch (error) {
        return (error as ProtocolError).code
      }
    })
    expect(inNode.filter((result) => typeof result === 'string')).toHaveLength(vectors.keys.refuse.length)
    const page = await openPage()
    const inPage = await page.evaluate(
      (lines) =>
        lines.map((line) => {
          try {
            const key = asfaleia.parsePublicKey(line)
            return [key.type, asfaleia.formatFingerprint(key.fingerprint), key.canDecrypt]
          } catch (error) {
            return error instanceof asfaleia.ProtocolError ? error.code : String(error)
          }
        }),
      lines,
    )
    expect(inPage).toEqual(inNode)
  })

  test('of signatures verify, those of security keys too, and none does after a change', async () => {
    const page = await openPage()
    const results = await page.evaluate(async ({ good, namespace, message }) => {
      const utf8 = new TextEncoder()
      const bytes = (text: string): Uint8Array => Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
      const stranger = asfaleia.generateSeedKey().public
      const all = []
      for (const { name, line, signature } of good) {
        const [key, blob] = [asfaleia.parsePublicKey(line), bytes(signature)]
        const verify = (change: object = {}): Promise<boolean> =>
          asfaleia.verifySignature({ blob, key, namespace, message: utf8.encode(message), ...change })
        const changed = []
        for (let at = 0; at < blob.length; at += 3) {
          const other = Uint8Array.from(blob)
          other[at]! ^= 1
          changed.push(await verify({ blob: other }))
        }
        all.push({
          name,
          good: await verify(),
          bad: [
            await verify({ message: utf8.encode(`${message}\n`) }),
            await verify({ namespace: 'file' }),
            await verify({ key: stranger }),
            ...changed,
          ],
        })
      }
      return all
    }, vectors.sshsig)
    expect(results.map(({ name, good }) => [name, good])).toEqual(vectors.sshsig.good.map(({ name }) => [name, true]))
    for (const { bad } of results) expect(bad.length).toBeGreaterThan(40)
    expect(results.flatMap(({ bad }) => bad).filter((taken) => taken)).toEqual([])
  })

  test('of age files to ed25519 keys open, and other private keys are unsupported', async () => {
    const page = await openPage()
    const results = await page.evaluate(
      (files) =>
        Promise.all(
          files.map(async ({ privateKey, file }) => {
            try {
              const identity = asfaleia.identityOf(asfaleia.parseSeedFile(privateKey))
              const text = await asfaleia.open(
                identity,
                Uint8Array.from(atob(file), (character) => character.charCodeAt(0)),
              )
              return text === undefined ? undefined : new TextDecoder().decode(text)
            } catch (error) {
              return error instanceof asfaleia.PrivateKeyError ? error.code : String(error)
            }
          }),
        ),
      vectors.age.files,
    )
    expect(results).toEqual(vectors.age.files.map(({ name }) => (name.startsWith('ed25519') ? vectors.age.text : 'unsupported')))
  })

  test('of age files: a file encrypted in a page to any of the keys opens in Node', async () => {
    const page = await openPage()
    const lines = vectors.age.files.map(({ line }) => line)
    const files = await page.evaluate(
      async ({ lines, text }) => {
        const made = []
        for (const line of lines) {
          const key = asfaleia.parsePublicKey(line)
          made.push(
            [...(await asfaleia.seal(key, new TextEncoder().encode(text)))],
            [...(await asfaleia.encryptToKey(new TextEncoder().encode(text), key))],
          )
        }
        return made
      },
      { lines, text: vectors.age.text },
    )
    expect(files).toHaveLength(2 * lines.length)
    for (const [at, file] of files.entries()) {
      const decrypter = new Decrypter()
      decrypter.addIdentity(new SshIdentity(parsePrivateKey(Buffer.from(vectors.age.files[at >> 1]!.privateKey))))
      expect(await decrypter.decrypt(Uint8Array.from(file), 'text')).toBe(vectors.age.text)
    }
  })

  test('of signatures: a page signs the same bytes as Node', async () => {
    const page = await openPage()
    const { privateKey } = vectors.age.files[0]!
    const { namespace, message } = vectors.sshsig
    const signature = await page.evaluate(
      async ({ privateKey, namespace, message }) => [
        ...(await asfaleia.identityOf(asfaleia.parseSeedFile(privateKey)).sign(namespace, new TextEncoder().encode(message))),
      ],
      { privateKey, namespace, message },
    )
    const inNode = await node.identityOf(parsePrivateKey(Buffer.from(privateKey))).sign(namespace, Buffer.from(message))
    expect(base64(Uint8Array.from(signature))).toBe(base64(inNode))
  })
})

/** Creates a key that stays in the page, and returns its public line. */
function makePerson(page: Page): Promise<string> {
  return page.evaluate(() => {
    const key = asfaleia.generateSeedKey()
    Object.assign(globalThis, { identity: asfaleia.identityOf(key) })
    return `${key.public.type} ${btoa(String.fromCharCode(...key.public.blob))}`
  })
}
declare const identity: node.Identity

describe('a page on the WebSocket of a relay', () => {
  test.each([false, true])('exchanges messages with another page (sign: %s)', async (sign) => {
    const { httpAddress, relay } = await startRelay()
    const [alice, bob] = [await openPage(), await openPage()]
    const [, line] = [await makePerson(alice), await makePerson(bob)]
    await alice.evaluate(
      async ({ address, line, sign }) => {
        const client = await asfaleia.connectRelay({ relay: address, identity, sign })
        for (const text of ['Hello Bob.', 'ü'.repeat(10_000)])
          await client.send(asfaleia.parsePublicKey(line), new TextEncoder().encode(text))
        client.close()
      },
      { address: httpAddress!, line, sign },
    )
    const received = await bob.evaluate(
      async ({ address, sign }) => {
        const client = await asfaleia.connectRelay({ relay: address, identity, sign })
        const { messages } = await client.get()
        const texts = []
        for (const message of messages) texts.push(new TextDecoder().decode(await client.open(message)))
        const erased = await client.ack(messages.map(({ id }) => id))
        client.close()
        return { texts, erased }
      },
      { address: httpAddress!, sign },
    )
    expect(received).toEqual({ texts: ['Hello Bob.', 'ü'.repeat(10_000)], erased: 2 })
    expect(relay.snapshot().counters.logins).toMatchObject(sign ? { decrypt: 0, sign: 2 } : { decrypt: 2, sign: 0 })
  })

  test('exchanges signed and padded messages with a messenger in Node, once and with receipts', async () => {
    const { address, httpAddress } = await startRelay()
    const page = await openPage()
    const inNode = node.identityOf(parsePrivateKey(Buffer.from(node.generatePrivateKey('').file)))
    const [line, own] = [await makePerson(page), `${inNode.key.type} ${base64(inNode.key.blob)}`]
    const contact: node.Contact = { name: 'page', key: node.parsePublicKey(line), relays: [address] }
    const messenger = node.openMessenger({ identity: inNode, relays: [address], contacts: { find: () => contact } })
    closers.push(() => messenger.close())
    const delivery = messenger.send(contact, { type: 'text', text: 'Hello page.' })
    const answer = messenger.received()[Symbol.asyncIterator]().next()
    const inPage = page.evaluate(
      async ({ address, own }) => {
        const contact = { name: 'node', key: asfaleia.parsePublicKey(own), relays: [address] }
        const messenger = asfaleia.openMessenger({ identity, relays: [address], contacts: { find: () => contact } })
        for await (const received of messenger.received()) {
          await received.done()
          const answer = messenger.send(contact, { type: 'text', text: 'Hello Node.' })
          const settled = await answer.settled
          // The receipt may wait longer than the answer of the other one.
          await messenger.flush()
          await messenger.close()
          return [received.verdict, received.envelope!.content, settled]
        }
        return []
      },
      { address: httpAddress!, own },
    )
    const received: node.Received = (await answer).value
    await received.done()
    expect([received.verdict, received.envelope?.content]).toEqual(['genuine', { type: 'text', text: 'Hello Node.' }])
    expect(await inPage).toEqual(['genuine', { type: 'text', text: 'Hello page.' }, 'delivered'])
    expect(await delivery.settled).toBe('delivered')
  })

  test('sends a hostile relay no text that is not its challenge, and nothing afterwards', async () => {
    const page = await openPage()
    const line = await makePerson(page)
    const victim: SshKey = node.parsePublicKey(line)
    const hostile = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('18;asfaleia/1\n')
      await peer.line()
      await peer.say(await challengePacket(latin1('the-password-is-hunter2'), victim))
      await peer.gone
    })
    closers.push(() => hostile.close())
    const { address, close } = await bridge(hostile.address)
    closers.push(close)
    const outcome = await page.evaluate(async (address) => {
      const client = await asfaleia.connectRelay({ relay: address, identity })
      return client.login().then(
        () => 'logged in',
        (error: unknown) => (error instanceof asfaleia.RelayError ? error.code : String(error)),
      )
    }, address)
    expect(outcome).toBe('hostile-challenge')
    expect(hostile.received()).toBe(`8;asfaleia/1;localhost\n0;${line}\n`)
  })

  test('distinguishes a missing relay from a silent one', async () => {
    const relay = await startTestRelay({ http: true })
    await relay.close()
    const page = await openPage()
    await makePerson(page)
    const codeOf = (address: string): Promise<string> =>
      page.evaluate(
        (address) =>
          asfaleia.connectRelay({ relay: address, identity, timeout: 100 }).then(
            () => 'connected',
            (error: unknown) => (error instanceof asfaleia.RelayError ? error.code : String(error)),
          ),
        address,
      )
    expect(await codeOf(relay.httpAddress!)).toBe('unreachable')
    const silent = await startHostileRelay(async (peer) => peer.gone)
    closers.push(() => silent.close())
    const { address, close } = await bridge(silent.address)
    closers.push(close)
    expect(await codeOf(address)).toBe('no-answer')
  })
})

test('the page of docs/clients.md sends itself a message', async () => {
  const { httpAddress } = await startRelay()
  const program = /^```js\n(.*?)^```$/ms.exec(readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8'))![1]!
  const { bytes } = await bundle(program.replace("'localhost'", `'${httpAddress}'`))
  const own = await startBrowser(bytes)
  closers.push(() => own.close())
  const page = await own.open()
  await page.getByText('Hello myself.').waitFor()
  expect(await page.textContent('body')).toBe('Hello myself.')
})

test('a card made in a page is valid in Node, and both derive the same safety words', async () => {
  const page = await openPage()
  const line = await makePerson(page)
  const inNode = node.identityOf(parsePrivateKey(Buffer.from(node.generatePrivateKey('').file)))
  const relays = ['pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion']
  const theirs = await node.makeCard(inNode, { name: 'Node', relays, time: 1_764_198_000 })
  const [card, name, words] = await page.evaluate(
    async ({ relays, link }) => {
      const card = await asfaleia.makeCard(identity, { name: 'Page', relays, time: 1_764_198_000 })
      const other = await asfaleia.parseCard(link)
      return [card.text, other.name, await asfaleia.safetyWords(identity.key, other.key)] as const
    },
    { relays, link: theirs.link },
  )
  const ours = await node.parseCard(card)
  expect([name, ours.name, ours.relays]).toEqual(['Node', 'Page', theirs.relays])
  expect(base64(ours.key.blob)).toBe(line.split(' ')[1])
  expect(words).toEqual(await node.safetyWords(inNode.key, ours.key))
})
