/** The public names of the package `asfaleia`, for Node: the core, and what opens private keys. */
export * from './core.ts'
export { type FilePrivateKey, generatePrivateKey, parsePrivateKey } from '../auth/private-key.ts'
