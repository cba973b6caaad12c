import { generateKeyPairSync, sign as signRaw } from 'node:crypto'
import { existsSync } from 'node:fs'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { AgentError, type AgentErrorCode, type AgentKey, SshAgent } from '../../src/auth/agent.ts'
import { generatePrivateKey, parsePrivateKey } from '../../src/auth/private-key.ts'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { encodeString } from '../../src/auth/ssh-wire.ts'
import { signMessage, verifySignature } from '../../src/auth/sshsig.ts'
import { startAgent, startFakeAgent } from '../support/agent.ts'
import { bigBytes, buildBlob, certify, type Field, keygenVerifies, makeFidoKey, makeFolder, makeKey, needs, toBlob } from './openssh.ts'

const NAMESPACE = 'a-test'
const MESSAGE = Buffer.from('the signed text')

/** Returns the code of the AgentError with which the work fails. */
async function failure(work: Promise<unknown>): Promise<AgentErrorCode | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(AgentError)
    return (error as AgentError).code
  }
}

describe('ssh-agent', () => {
  beforeEach(needs('ssh-keygen', 'ssh-agent', 'ssh-add'))

  test.each([
    ['ed25519', '256'],
    ['rsa', '2048'],
    ['rsa', '3072'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
  ])('signs with a key of type %s, %s bits, and with its certificate', async (type, bits) => {
    const folder = makeFolder()
    const key = makeKey(folder, 'key', ['-t', type, '-b', bits])
    certify(makeKey(folder, 'authority', ['-t', 'ed25519']), key)
    const real = await startAgent()
    real.add(['-q', key.path])
    const agent = new SshAgent({ path: real.path })
    const keys = await agent.list()
    expect(keys.map(({ certificate, comment }) => ({ certificate, comment }))).toEqual([
      { certificate: false, comment: 'a test' },
      { certificate: true, comment: 'a test' },
    ])
    for (const each of keys) {
      expect(each.key?.fingerprint).toEqual(parsePublicKey(key.line).fingerprint)
      const blob = await agent.sign(each, NAMESPACE, MESSAGE)
      expect(await verifySignature({ blob, key: each.key!, namespace: NAMESPACE, message: MESSAGE })).toBe(true)
      expect(keygenVerifies(folder, { line: key.line, blob, namespace: NAMESPACE, message: MESSAGE })).toBe(true)
    }
    // RSA and ed25519 are deterministic, so the agent signs exactly as the key file would.
    if (type !== 'ecdsa') {
      expect(Buffer.from(await agent.sign(keys[0]!, NAMESPACE, MESSAGE))).toEqual(
        Buffer.from(signMessage(parsePrivateKey(key.file), NAMESPACE, MESSAGE)),
      )
    }
  })

  test('fails with the right code if it is locked, lost the key, refused, or is gone', async () => {
    const folder = makeFolder()
    const key = makeKey(folder, 'key', ['-t', 'ed25519'])
    const other = makeKey(folder, 'other', ['-t', 'ed25519'])
    const real = await startAgent({ consents: false })
    const agent = new SshAgent({ path: real.path })
    expect(await agent.list()).toEqual([])
    real.add(['-q', key.path])
    real.add(['-q', '-c', other.path])
    const [first, asking] = (await agent.list()) as [AgentKey, AgentKey]
    expect(await failure(agent.sign(asking, NAMESPACE, MESSAGE))).toBe('refused')

    real.add(['-x'], 'a word')
    expect(await agent.list()).toEqual([])
    expect(await failure(agent.sign(first, NAMESPACE, MESSAGE))).toBe('no-such-key')
    real.add(['-X'], 'a word')
    expect(await failure(agent.sign(first, NAMESPACE, MESSAGE))).toBeUndefined()

    real.add(['-q', '-d', key.path])
    expect(await failure(agent.sign(first, NAMESPACE, MESSAGE))).toBe('no-such-key')
    await real.stop()
    expect(existsSync(real.path)).toBe(true)
    expect(await failure(agent.sign(asking, NAMESPACE, MESSAGE))).toBe('no-agent')
    expect(await failure(agent.list())).toBe('no-agent')
  })

  test('asks for consent to use a key, and signs after the consent', async () => {
    const key = makeKey(makeFolder(), 'key', ['-t', 'ed25519'])
    const real = await startAgent({ consents: true })
    real.add(['-q', '-c', key.path])
    const agent = new SshAgent({ path: real.path })
    expect(await failure(agent.sign((await agent.list())[0]!, NAMESPACE, MESSAGE))).toBeUndefined()
  })

  test('lists keys that are too weak for us without a usable key', async () => {
    const weak = makeKey(makeFolder(), 'key', ['-t', 'rsa', '-b', '1024'])
    const real = await startAgent()
    real.add(['-q', weak.path])
    const agent = new SshAgent({ path: real.path })
    const keys = await agent.list()
    expect(keys).toMatchObject([{ key: undefined, type: 'ssh-rsa', certificate: false }])
    await expect(agent.sign(keys[0]!, NAMESPACE, MESSAGE)).rejects.toThrow(TypeError)
  })
})

const message = (type: number, ...fields: Field[]): Buffer =>
  Buffer.from(encodeString(Buffer.concat([Buffer.of(type), buildBlob(...fields)])))
const mine = generatePrivateKey('me')
const other = parsePrivateKey(Buffer.from(generatePrivateKey('other').file))
const blob = toBlob(mine.public)

describe('list fails with no-agent if the path is', () => {
  test.each([
    ['missing', '/nonexistent/agent'],
    ['a file that is not a socket', import.meta.filename],
    ['a folder', import.meta.dirname],
    ['empty', ''],
    ['longer than the limit of a socket path', `/${'x'.repeat(4_000)}`],
  ])('%s', async (_name, path) => {
    expect(await failure(new SshAgent({ path }).list())).toBe('no-agent')
  })
})

describe('a misbehaving agent', () => {
  const listed = message(12, 1, blob, 'me')
  test.each<[AgentErrorCode, string, Uint8Array]>([
    ['refused', 'a failure', message(5)],
    ['refused', "an extension's failure", message(28)],
    ['broken-agent', 'an answer of another type', message(14, 'x')],
    ['broken-agent', 'an empty answer', Buffer.alloc(4)],
    ['broken-agent', 'a length over the limit', Buffer.from('0004000100', 'hex')],
    ['broken-agent', 'a length of four gigabytes', Buffer.from('ffffffff0c', 'hex')],
    ['broken-agent', 'two answers', Buffer.concat([listed, listed])],
    ['broken-agent', 'text', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['broken-agent', 'a list without a count', message(12)],
    ['broken-agent', 'a count above the number of keys', message(12, 2, blob, 'me')],
    ['broken-agent', 'a count below the number of keys', message(12, 0, blob, 'me')],
    ['broken-agent', 'more keys than the limit', message(12, 513, ...Array.from({ length: 513 }, () => ['', '']).flat())],
    ['broken-agent', 'a key without a comment', message(12, 1, blob)],
    ['broken-agent', 'a key that is not a blob', message(12, 1, 'x', 'me')],
    ['broken-agent', 'a key without a type', message(12, 1, buildBlob(''), 'me')],
  ])('fails list with %s if it answers with %s', async (code, _name, answer) => {
    const path = await startFakeAgent(() => answer)
    expect(await failure(new SshAgent({ path }).list())).toBe(code)
  })

  test('causes only an AgentError, whatever it answers', async () => {
    let answer: Uint8Array = Buffer.alloc(0)
    const path = await startFakeAgent((_request, socket) => {
      socket.end(answer)
      return undefined
    })
    const agent = new SshAgent({ path })
    const whole = listed.subarray(4)
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array(),
          fc.uint8Array().map((bytes) => Buffer.from(encodeString(Buffer.concat([Buffer.of(12), bytes])))),
          fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, change]) => {
            const bytes = Buffer.from(whole)
            bytes[at]! ^= change
            return Buffer.from(encodeString(bytes))
          }),
        ),
        async (bytes) => {
          answer = bytes
          expect(['gone', 'broken-agent', 'refused', undefined]).toContain(await failure(agent.list()))
        },
      ),
      { numRuns: 300 },
    )
  })

  test('fails with the right code if it stays silent or hangs up, and may send its answer byte by byte', async () => {
    const silent = await startFakeAgent(() => undefined)
    expect(await failure(new SshAgent({ path: silent, timeout: 20 }).list())).toBe('no-answer')
    const gone = await startFakeAgent((_request, socket) => void socket.destroy())
    expect(await failure(new SshAgent({ path: gone }).list())).toBe('gone')
    const half = await startFakeAgent((_request, socket) => void socket.end(listed.subarray(0, 20)))
    expect(await failure(new SshAgent({ path: half }).list())).toBe('gone')
    const slow = await startFakeAgent((_request, socket) => {
      for (const byte of listed) socket.write(Buffer.of(byte))
      return undefined
    })
    expect(await new SshAgent({ path: slow }).list()).toMatchObject([{ comment: 'me' }])
  })

  test("is abandoned when the caller's signal aborts", async () => {
    const stop = new AbortController()
    const path = await startFakeAgent(() => {
      stop.abort(new Error('enough'))
      return undefined
    })
    const agent = new SshAgent({ path, signal: stop.signal })
    await expect(agent.list()).rejects.toThrow('enough')
    await expect(agent.list()).rejects.toThrow('enough')
  })
})

/** Starts an agent with one key; `answer` answers each request to sign `data` under `flags`. */
async function agentOf(key: Uint8Array, answer: (data: Buffer, flags: number) => Uint8Array): Promise<{ agent: SshAgent; held: AgentKey }> {
  const path = await startFakeAgent((request) => {
    if (request[0] === 11) return message(12, 1, key, 'me')
    const at = 5 + request.readUInt32BE(1)
    expect(request.subarray(5, at)).toEqual(Buffer.from(key))
    const end = at + 4 + request.readUInt32BE(at)
    return answer(request.subarray(at + 4, end), request.readUInt32BE(end))
  })
  const agent = new SshAgent({ path })
  return { agent, held: (await agent.list())[0]! }
}

describe('SshAgent.sign', () => {
  test.each(['ed25519', 'nistp256'] as const)(
    'returns a valid signature of a security key of %s, with its flags and counter',
    async (curve) => {
      const fido = makeFidoKey(curve)
      const { agent, held } = await agentOf(fido.blob, (data) => message(14, fido.signData(data)))
      const signature = await agent.sign(held, NAMESPACE, MESSAGE)
      expect(await verifySignature({ blob: signature, key: held.key!, namespace: NAMESPACE, message: MESSAGE })).toBe(true)
    },
  )

  describe('interoperation with ssh-keygen', () => {
    beforeEach(needs('ssh-keygen'))

    test.each(['ed25519', 'nistp256'] as const)('ssh-keygen verifies the signature of a security key of %s', async (curve) => {
      const fido = makeFidoKey(curve)
      const { agent, held } = await agentOf(fido.blob, (data) => message(14, fido.signData(data)))
      const signature = await agent.sign(held, NAMESPACE, MESSAGE)
      const input = { line: fido.line, blob: signature, namespace: NAMESPACE, message: MESSAGE }
      expect(keygenVerifies(makeFolder(), input)).toBe(true)
      expect(keygenVerifies(makeFolder(), { ...input, message: Buffer.from('other') })).toBe(false)
    })
  })

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const rsaKey = parsePrivateKey(Buffer.from(rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }))).public

  test('requests SHA-512 for RSA and restores leading zeros that the agent stripped', async () => {
    const asked: number[] = []
    const taken: number[] = []
    const { agent, held } = await agentOf(rsaKey.blob, (data, flags) => {
      asked.push(flags)
      const whole = signRaw('sha512', data, rsa.privateKey)
      const body = bigBytes(BigInt(`0x${whole.toString('hex')}`))
      if (body.length < whole.length) taken.push(body.length)
      return message(14, buildBlob('rsa-sha2-512', body))
    })
    // One signature in 256 begins with a zero.
    for (let i = 0; taken.length === 0; i++) await agent.sign(held, NAMESPACE, Buffer.from(`${i}`))
    expect(new Set(asked)).toEqual(new Set([4]))
  })

  const fido = makeFidoKey('ed25519')
  test.each<[AgentErrorCode, string, Uint8Array, (data: Buffer) => Uint8Array]>([
    ['refused', 'refuses', blob, () => message(5)],
    ['broken-agent', 'answers with a list', blob, () => message(12, 0)],
    ['broken-agent', 'answers with an empty signature', blob, () => message(14, '')],
    ['broken-agent', 'appends bytes to the signature', blob, () => message(14, buildBlob('ssh-ed25519', Buffer.alloc(64)), 'more')],
    ['bad-signature', 'answers with too short a signature', blob, () => message(14, buildBlob('ssh-ed25519', Buffer.alloc(63)))],
    ['bad-signature', 'answers with zeros', blob, () => message(14, buildBlob('ssh-ed25519', Buffer.alloc(64)))],
    [
      'bad-signature',
      'signs with another key',
      blob,
      (data) => message(14, buildBlob('ssh-ed25519', signRaw(null, data, other.keyObject))),
    ],
    ['bad-signature', 'names another key type', blob, () => message(14, buildBlob('ecdsa-sha2-nistp256', Buffer.alloc(64)))],
    [
      'broken-agent',
      "omits a security key's counter",
      fido.blob,
      () => message(14, buildBlob('sk-ssh-ed25519@openssh.com', Buffer.alloc(64))),
    ],
    ['untouched', 'signs without a touch', fido.blob, (data) => message(14, fido.signData(data, 0))],
    ['bad-signature', 'signs with another security key', fido.blob, (data) => message(14, makeFidoKey('ed25519').signData(data))],
    ['sha1-only', 'signs by SHA-1', rsaKey.blob, (data) => message(14, buildBlob('ssh-rsa', signRaw('sha1', data, rsa.privateKey)))],
    [
      'bad-signature',
      'answers with a signature longer than the key',
      rsaKey.blob,
      () => message(14, buildBlob('rsa-sha2-512', Buffer.alloc(257, 1))),
    ],
  ])('fails with %s if the agent %s', async (code, _name, key, answer) => {
    const { agent, held } = await agentOf(key, answer)
    expect(await failure(agent.sign(held, NAMESPACE, MESSAGE))).toBe(code)
  })
})
