/**
 * Helpers shared by the tests of src/auth: keys made by ssh-keygen, keys and certificates built byte by byte,
 * and a FIDO key in software.
 */
import { execFileSync } from 'node:child_process'
import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished, type TestContext } from 'vitest'
import { encodeMpint, encodeString, encodeUint32 } from '../../src/auth/ssh-wire.ts'
import { missing } from '../support/programs.ts'

/** For `beforeEach`: skips the test with a reason if a program is missing. */
export const needs =
  (...programs: readonly string[]) =>
  (ctx: TestContext): void => {
    const reason = missing(...programs)
    if (reason !== undefined) ctx.skip(reason)
  }

/** Makes a folder that is removed when the test ends. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-auth-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

export function run(program: string, args: readonly string[], input?: Uint8Array | string): Buffer {
  return execFileSync(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...(input === undefined ? {} : { input }) })
}

export interface KeyFiles {
  /** The private key's path; the public key's file is `${path}.pub`. */
  readonly path: string
  readonly file: Buffer
  readonly line: string
}

/** Makes a key with ssh-keygen; `args` is for example `['-t', 'rsa', '-b', '2048']`. */
export function makeKey(folder: string, name: string, args: readonly string[], passphrase = ''): KeyFiles {
  const path = join(folder, name)
  run('ssh-keygen', ['-q', '-N', passphrase, '-C', 'a test', '-f', path, ...args])
  return { path, file: readFileSync(path), line: readFileSync(`${path}.pub`, 'latin1').trimEnd() }
}

/** Signs the key's public half with `ssh-keygen -s`. @returns the certificate's line */
export function certify(authority: KeyFiles, key: KeyFiles, args: readonly string[] = ['-n', 'me']): string {
  run('ssh-keygen', ['-q', '-s', authority.path, '-I', 'a test', ...args, `${key.path}.pub`])
  return readFileSync(`${key.path}-cert.pub`, 'latin1').trimEnd()
}

export type Field = Uint8Array | string | number | bigint

/** Encodes strings and byte strings with their length, numbers as uint32, bigints as mpints. */
export function buildBlob(...fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.map((field) => {
      if (typeof field === 'number') return encodeUint32(field)
      if (typeof field === 'bigint') return encodeMpint(bigBytes(field))
      return encodeString(field)
    }),
  )
}

export function bigBytes(value: bigint): Buffer {
  const hex = value.toString(16)
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
}

/** Formats a blob as a public key line, with the blob's own type. */
export function toLine(blob: Uint8Array): string {
  const bytes = Buffer.from(blob)
  return `${bytes.subarray(4, 4 + bytes.readUInt32BE()).toString('latin1')} ${bytes.toString('base64')}`
}

export function toBlob(line: string): Buffer {
  return Buffer.from(line.split(' ')[1]!, 'base64')
}

/** Builds a well-formed user certificate of `fields`; only `change` can spoil its form. Its signature is junk. */
export function buildCertificate(
  type: string,
  fields: readonly Field[],
  change: {
    readonly role?: number
    readonly principals?: Uint8Array
    readonly critical?: Uint8Array
    readonly extensions?: Uint8Array
    readonly authority?: Uint8Array
    readonly signature?: Uint8Array
  } = {},
): Buffer {
  return Buffer.concat([
    buildBlob(type, Buffer.alloc(32, 1), ...fields),
    Buffer.alloc(8),
    buildBlob(change.role ?? 1, 'an id', change.principals ?? buildBlob('me')),
    Buffer.alloc(8),
    Buffer.alloc(8, 0xff),
    buildBlob(
      change.critical ?? '',
      change.extensions ?? buildBlob('permit-pty', ''),
      '',
      change.authority ?? buildBlob('ssh-ed25519', Buffer.alloc(32, 0x66)),
      change.signature ?? buildBlob('ssh-ed25519', Buffer.alloc(64, 2)),
    ),
  ])
}

/** A FIDO key without the hardware, as OpenSSH's PROTOCOL.u2f describes it. */
export interface FidoKey {
  readonly line: string
  readonly blob: Buffer
  /** Returns an SSHSIG blob over `message` with these flags (1: user present; 4: user verified). */
  sign(namespace: string, message: Uint8Array, flags?: number): Buffer
  /** Returns an agent's answer to a request to sign `data`: algorithm, signature, flags and counter. */
  signData(data: Uint8Array, flags?: number): Buffer
}

const sha256 = (bytes: Uint8Array | string): Buffer => createHash('sha256').update(bytes).digest()

export function makeFidoKey(curve: 'ed25519' | 'nistp256', application = 'ssh:'): FidoKey {
  const type = curve === 'ed25519' ? 'sk-ssh-ed25519@openssh.com' : 'sk-ecdsa-sha2-nistp256@openssh.com'
  const { privateKey, publicKey } =
    curve === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const blob =
    curve === 'ed25519'
      ? buildBlob(type, exportPoint(publicKey), application)
      : buildBlob(type, 'nistp256', exportPoint(publicKey), application)
  const signData = (data: Uint8Array, flags = 1): Buffer => {
    const state = Buffer.concat([Buffer.of(flags), encodeUint32(7)])
    const signed = Buffer.concat([sha256(application), state, sha256(data)])
    return Buffer.concat([buildBlob(type, signRaw(privateKey, signed)), state])
  }
  return {
    line: toLine(blob),
    blob,
    sign(namespace, message, flags) {
      const signed = Buffer.concat([Buffer.from('SSHSIG'), buildBlob(namespace, '', 'sha256', sha256(message))])
      return Buffer.concat([Buffer.from('SSHSIG'), buildBlob(1, blob, namespace, '', 'sha256', signData(signed, flags))])
    },
    signData,
  }
}

function signRaw(key: KeyObject, bytes: Uint8Array): Buffer {
  if (key.asymmetricKeyType === 'ed25519') return sign(null, bytes, key)
  const both = sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
  return Buffer.concat([encodeMpint(both.subarray(0, 32)), encodeMpint(both.subarray(32))])
}

function exportPoint(key: KeyObject): Buffer {
  const { x, y } = key.export({ format: 'jwk' })
  const first = Buffer.from(x!, 'base64url')
  return y === undefined ? first : Buffer.concat([Buffer.of(4), first, Buffer.from(y, 'base64url')])
}

const ARMOR = ['-----BEGIN SSH SIGNATURE-----', '-----END SSH SIGNATURE-----'] as const

export function armor(blob: Uint8Array): string {
  return `${ARMOR[0]}\n${Buffer.from(blob).toString('base64').replace(/.{70}/g, '$&\n')}\n${ARMOR[1]}\n`
}

export function dearmor(text: string): Buffer {
  return Buffer.from(text.replace(ARMOR[0], '').replace(ARMOR[1], '').replaceAll('\n', ''), 'base64')
}

/** Whether `ssh-keygen -Y verify` accepts the signature. */
export function keygenVerifies(folder: string, input: { line: string; blob: Uint8Array; namespace: string; message: Uint8Array }): boolean {
  const [allowed, signature] = [join(folder, 'allowed'), join(folder, 'signature')]
  writeFileSync(allowed, `me ${input.line}\n`)
  writeFileSync(signature, armor(input.blob))
  try {
    run('ssh-keygen', ['-Y', 'verify', '-f', allowed, '-I', 'me', '-n', input.namespace, '-s', signature], input.message)
    return true
  } catch {
    return false
  }
}
