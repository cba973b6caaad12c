/** The public names of the package `asfaleia`, for Node: the core, and what opens private keys. */
export * from './core.ts'
export { generatePrivateKey, parsePrivateKey, PrivateKeyError } from '../auth/private-key.ts'
