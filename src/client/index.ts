/** The public names of the package `asfaleia`, for Node: the core, what opens private keys, and a client of ssh-agent. */
export * from './core.ts'
export { type FilePrivateKey, generatePrivateKey, parsePrivateKey, readPrivateKey } from '../auth/private-key.ts'
export { AgentError, type AgentErrorCode, type AgentKey, type AgentOptions, SshAgent } from '../auth/agent.ts'
