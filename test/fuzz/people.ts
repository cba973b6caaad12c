/** Two people with fixed keys, and an age key, for targets that need a signer or a receiver. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'

const folder = join(import.meta.dirname, '../vectors/example')
const read = (name: string): Identity => identityOf(parsePrivateKey(readFileSync(join(folder, name))))

/** With ed25519 keys, so that the same text has the same signature. */
export const alice = read('alice')
export const bob = read('bob')

export const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
export const NOW = 1_795_000_000
