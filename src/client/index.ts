/** The public names of the package `asfaleia`: a client of a relay, and the keys it takes. */
export { connectRelay, type ConnectOptions, RelayClient } from './client.ts'
export { RelayError, type RelayErrorCode } from './error.ts'
export { type Identity, identityOf } from './identity.ts'
export { open, seal } from './envelope.ts'
export type { Message, RelayLimits } from '../protocol/client-session.ts'
export { ProtocolError } from '../protocol/errors.ts'
export { formatFingerprint, parsePublicKey, type SshKey } from '../auth/ssh-key.ts'
export { generatePrivateKey, parsePrivateKey, PrivateKeyError, type SshPrivateKey } from '../auth/private-key.ts'
