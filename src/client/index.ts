/** The public names of the package `asfaleia`, for Node: the core, private key files, and a client of ssh-agent. */
export * from './core.ts'
export { type FilePrivateKey, generatePrivateKey, parsePrivateKey, readPrivateKey } from '../auth/private-key.ts'
export { AgentError, type AgentErrorCode, type AgentKey, type AgentOptions, SshAgent } from '../auth/agent.ts'
