import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseContainer } from '../../../src/auth/container.ts'
import { generatePrivateKey, parsePrivateKey, PrivateKeyError } from '../../../src/auth/private-key.ts'
import { attempt, type Target } from '../target.ts'

const folder = join(import.meta.dirname, '../../vectors/example')
const isCoded = (error: unknown): boolean => error instanceof PrivateKeyError

/** A file that should hold a private key, without a passphrase; after a NUL the content of a file in OpenSSH's container. */
export const target: Target = {
  name: 'private-key',
  covers: ['auth/private-key.ts', 'auth/container.ts', 'auth/pem.ts', 'auth/key-error.ts', 'auth/key-object.ts'],
  seeds() {
    const pem = { format: 'pem', type: 'pkcs8' } as const
    const files = [
      readFileSync(join(folder, 'alice'), 'latin1'),
      generatePrivateKey('me', 'secret').file,
      generateKeyPairSync('ed25519').privateKey.export(pem),
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(pem),
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'sec1' }),
      generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export({ format: 'pem', type: 'pkcs1' }),
    ].map(String)
    const inner = (file: string): Buffer => Buffer.from(file.split('\n').slice(1, -2).join(''), 'base64')
    return [...files, ...files.slice(0, 2).map((file) => Buffer.concat([Buffer.of(0), inner(file)]))]
  },
  run(input) {
    let file: Uint8Array = input
    if (input[0] === 0) {
      const base64 = Buffer.from(input.subarray(1)).toString('base64')
      file = Buffer.from(`-----BEGIN OPENSSH PRIVATE KEY-----\n${base64}\n-----END OPENSSH PRIVATE KEY-----\n`)
      const container = attempt(
        () => parseContainer(base64),
        (error) => isCoded(error) || (error instanceof Error && error.name === 'WireError'),
      )
      if (!('value' in container)) return `container: ${container.refused}`
    }
    const parsed = attempt(() => parsePrivateKey(file), isCoded)
    return 'value' in parsed ? parsed.value.public.type : parsed.refused
  },
}
