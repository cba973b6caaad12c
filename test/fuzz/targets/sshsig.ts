import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parsePrivateKey } from '../../../src/auth/private-key.ts'
import { signMessage, verifySignature } from '../../../src/auth/sshsig.ts'
import { type Target } from '../target.ts'

const folder = join(import.meta.dirname, '../../vectors')
const key = parsePrivateKey(readFileSync(join(folder, 'example/alice')))
const message = Buffer.from('message')
const NAMESPACE = 'asfaleia-auth'

export const target: Target = {
  name: 'sshsig',
  covers: ['auth/sshsig.ts', 'auth/ssh-key.ts', 'auth/crypto.ts'],
  seeds() {
    const text = readFileSync(join(folder, 'sshsig.json'), 'utf8')
    const others = [...text.matchAll(/"(U1NIU0lH[A-Za-z0-9+/=]+)"/g)].map(([, base64]) => Buffer.from(base64!, 'base64'))
    return [signMessage(key, NAMESPACE, message), signMessage(key, 'file', message), ...others]
  },
  async run(input) {
    const given = { key: key.public, namespace: NAMESPACE, message }
    const good = await verifySignature({ ...given, blob: input.slice() })
    if (!good) return 'bad'
    // Of these there is only one: ed25519 is deterministic, and an SSHSIG has one spelling for each hash.
    return 'good'
  },
}
