/**
 * The example session of docs/protocol.md, section 8: it is valid by itself, other programs accept it, and a
 * current relay answers the same except for the fields that the document calls random.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AUTH_NAMESPACE, verifySignature } from '../../src/auth/sshsig.ts'
import { parseChallenge } from '../../src/protocol/challenge.ts'
import {
  answerChallenge,
  type Line,
  openAge,
  playExample,
  readDocument,
  readExample,
  readKey,
  type Talk,
  VECTORS,
} from '../support/example.ts'
import { missing } from '../support/programs.ts'

const TEXT = 'Hello Bob, it is Alice.'
const document = readDocument()
const talks = readExample(document)
const [alice, bob, sender, reader] = talks as [Talk, Talk, Talk, Talk]
const reason = missing('sh', 'age', 'base64', 'ssh-keygen')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'asf-example-'))
  for (const name of ['alice', 'bob', 'alice.pub', 'bob.pub']) {
    await copyFile(join(VECTORS, name), join(folder, name))
    // ssh-keygen refuses a key that others could read.
    await chmod(join(folder, name), 0o600)
  }
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Returns the fields of the first packet with that number. */
function fieldsOf(talk: Talk, number: number): string[] {
  const line = talk.lines.find(({ packet }) => packet.split(';')[0] === String(number))
  return line!.packet.split(';').slice(1)
}

const decode = (base64: string): Buffer => Buffer.from(base64, 'base64')
const bytesOf = (base64: string): Buffer => {
  const bytes = decode(base64)
  expect(bytes.toString('base64')).toBe(base64)
  return bytes
}

describe('the example session in the document', () => {
  it('contains a login by decryption', async () => {
    const [handle, file] = fieldsOf(alice, 1) as [string, string]
    const line = Buffer.from(await openAge(readKey('alice'), bytesOf(file))).toString()
    expect(parseChallenge(line)).toMatchObject({ relay: 'localhost', handle })
    expect(fieldsOf(alice, 2)).toEqual([handle, line])
  })

  it('contains a login by signature', async () => {
    const [handle, text] = fieldsOf(bob, 1) as [string, string]
    const line = bytesOf(text)
    expect(parseChallenge(line.toString())).toMatchObject({ relay: 'localhost', handle })
    const [again, answer] = fieldsOf(bob, 2) as [string, string]
    expect(again).toBe(handle)
    const check = { blob: bytesOf(answer), key: readKey('bob').public, namespace: AUTH_NAMESPACE, message: line }
    expect(await verifySignature(check)).toBe(true)
  })

  it.each([
    ['alice', alice],
    ['bob', bob],
  ] as const)('gives %s a token, which later packets use', (_name, talk) => {
    const [token] = fieldsOf(talk, 12) as [string]
    const [header, claims] = token.split('.').map((part) => Buffer.from(part, 'base64url').toString())
    expect(JSON.parse(header!)).toEqual({ alg: 'HS256', typ: 'JWT' })
    const { aud, sub, iat, exp } = JSON.parse(claims!) as { aud: string; sub: string; iat: number; exp: number }
    expect({ aud, seconds: exp - iat }).toEqual({ aud: 'localhost', seconds: 3_600 })
    expect(Buffer.from(sub, 'base64url')).toHaveLength(32)
    for (const number of talk === alice ? [3] : [4, 5]) expect(fieldsOf(talk, number)[0]).toBe(token)
  })

  it('delivers the message to Bob, and only Bob can open it', async () => {
    const [, receiver, payload] = fieldsOf(alice, 3) as [string, string, string]
    const { type, blob } = readKey('bob').public
    expect(receiver).toBe(`${type} ${Buffer.from(blob).toString('base64')}`)
    expect(fieldsOf(bob, 20)).toEqual([fieldsOf(alice, 13)[0], payload])
    expect(fieldsOf(bob, 5)[1]).toBe(fieldsOf(alice, 13)[0])
    expect(Buffer.from(await openAge(readKey('bob'), bytesOf(payload))).toString()).toBe(TEXT)
    await expect(openAge(readKey('alice'), decode(payload))).rejects.toThrow('no identity matched')
    expect(document).toContain(`\`${TEXT}\``)
  })

  it('has claims, whose secrets give the address that the message goes to', () => {
    const [secret] = fieldsOf(reader, 34) as [string]
    expect(Buffer.from(secret, 'base64url').toString('base64url')).toBe(secret)
    const digest = createHash('sha256').update(Buffer.from(secret, 'base64url')).digest('base64').replace('=', '')
    const [token, receiver, payload] = fieldsOf(sender, 3)
    expect([token, receiver]).toEqual(['', `SHA256:${digest}`])
    expect(fieldsOf(reader, 21)).toEqual(['a', fieldsOf(sender, 13)[0], payload])
    for (const talk of [sender, reader]) {
      const [jwt] = fieldsOf(talk, 12) as [string]
      expect(JSON.parse(Buffer.from(jwt.split('.')[1]!, 'base64url').toString())).toMatchObject({ aud: 'localhost', claim: true })
    }
  })
})

describe('a current relay', () => {
  let played: Talk[]
  beforeAll(async () => {
    played = await playExample(talks)
  })

  /** Returns the cells of the rows below the document's line that begins with `head`. */
  const rowsBelow = (head: string): string[][] => {
    const [, body] = document.split(`\n${head}`)[1]!.split(/\n\|---.*\n/)
    return body!
      .split('\n\n')[0]!
      .split('\n')
      .map((row) =>
        row
          .split('|')
          .slice(1)
          .map((cell) => cell.trim()),
      )
  }
  const named = new Map(rowsBelow('| no | name |').map(([no, , , fields]) => [no, fields!.split(/[;[]/).map((field) => field.trim())]))
  /** For each packet, the fields that the document calls random. */
  const random = new Map<string, number[]>()
  for (const [numbers, fields] of rowsBelow('| packet | fields |')) {
    for (const number of numbers!.split(', ')) {
      const indexes = fields!.split('; ').map((field) => named.get(number)!.indexOf(field) + 1)
      random.set(
        number,
        indexes.filter((index) => index > 0),
      )
    }
  }

  /** Replaces each character of a random field by `*`, so that the length stays. */
  const masked = ({ packet }: Line): string => {
    const fields = packet.split(';')
    for (const index of random.get(fields[0]!) ?? []) fields[index] = '*'.repeat(fields[index]!.length)
    return fields.join(';')
  }

  it('answers as in the document, except for the random fields', () => {
    for (const [index, talk] of talks.entries()) {
      expect(played[index]!.lines.map(masked)).toEqual(talk.lines.map(masked))
    }
  })

  it('draws the random fields anew', () => {
    for (const [talk, number, field] of [
      [0, 1, 0],
      [0, 1, 1],
      [0, 12, 0],
      [0, 13, 0],
      [1, 1, 0],
      [1, 12, 0],
    ] as const) {
      expect(fieldsOf(played[talk]!, number)[field]).not.toBe(fieldsOf(talks[talk]!, number)[field])
    }
  })
})

describe('the commands of section 9', () => {
  const [, commands] = /^## 9\. By hand$.*?^```sh\n(.*?)^```$/ms.exec(document)!

  const sh = (command: string, input: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const child = execFile('sh', ['-c', `${commands}\n${command}`], { cwd: folder }, (error, stdout) => {
        if (error === null) resolve(stdout)
        else reject(new Error('the command failed', { cause: error }))
      })
      child.stdin!.end(input)
    })

  it('read the challenge that Alice answered', async (ctx) => {
    ctx.skip(reason !== undefined, reason)
    const [, challenge] = fieldsOf(alice, 1) as [string, string]
    expect(await sh('challenge alice', challenge)).toBe(fieldsOf(alice, 2)[1])
  })

  it('sign the challenge as Bob answered it', async (ctx) => {
    ctx.skip(reason !== undefined, reason)
    const [, challenge] = fieldsOf(bob, 1) as [string, string]
    // ed25519 is deterministic, so the signature is the same.
    expect(await sh('signature bob', decode(challenge).toString())).toBe(fieldsOf(bob, 2)[1])
    expect(await answerChallenge(readKey('bob'), challenge, true)).toBe(fieldsOf(bob, 2)[1])
  })

  it('open the message, and seal one that our client opens', async (ctx) => {
    ctx.skip(reason !== undefined, reason)
    expect(await sh('unseal bob', fieldsOf(bob, 20)[1]!)).toBe(TEXT)
    const payload = await sh('seal bob.pub', 'and back')
    expect(Buffer.from(await openAge(readKey('bob'), bytesOf(payload))).toString()).toBe('and back')
  })

  it('draw a secret, and find the address of one', async (ctx) => {
    ctx.skip(reason !== undefined, reason)
    const secret = await sh('secret', '')
    expect(Buffer.from(secret, 'base64url').toString('base64url')).toBe(secret)
    expect(secret).toHaveLength(43)
    expect(await sh(`address ${fieldsOf(reader, 34)[0]!}`, '')).toBe(fieldsOf(sender, 3)[1])
  })

  it('make ssh-keygen verify the signature of the document', async (ctx) => {
    ctx.skip(reason !== undefined, reason)
    const [, challenge] = fieldsOf(bob, 1) as [string, string]
    const body = fieldsOf(bob, 2)[1]!.replace(/.{70}/g, '$&\n')
    await writeFile(join(folder, 'sig'), `-----BEGIN SSH SIGNATURE-----\n${body}\n-----END SSH SIGNATURE-----\n`)
    const check = `echo "bob $(cat bob.pub)" >allowed && ssh-keygen -q -Y verify -f allowed -I bob -n ${AUTH_NAMESPACE} -s sig`
    await expect(sh(check, decode(challenge).toString())).resolves.toBeDefined()
    await expect(sh(check, `${decode(challenge).toString()}\n`)).rejects.toThrow('the command failed')
  })
})
