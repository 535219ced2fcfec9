// Package chaos breaks the parts of a deployment of many processes while clients load it, and tells whether the
// promise held: no request that was accepted is lost, wrong or left hanging, and no KV block stays pinned.
//
// Faults and traffic follow from a seed alone. The engines are simulated, so that the text of each answer is known
// beforehand. It looks at the deployment as clients and operators do, over HTTP, and imports no part of the product but
// the simulated engine.
package chaos
