import PhotosUI
import SwiftUI

@main
struct EganSampleApp: App {
    var body: some Scene {
        WindowGroup { DecisionView() }
    }
}

/// The camera's live picture, or a photo, with the model's decision on it.
@MainActor
struct DecisionView: View {
    @State private var model: EganModel?
    @State private var camera = Camera()
    @State private var choice: PhotosPickerItem?
    @State private var photo: UIImage?
    @State private var answer = "Loading the model"

    var body: some View {
        VStack(spacing: 16) {
            Text(answer).font(.title2).multilineTextAlignment(.center)
            if let photo {
                Image(uiImage: photo).resizable().scaledToFit().frame(maxHeight: .infinity)
            } else {
                CameraView(session: camera.session)
            }
            HStack(spacing: 24) {
                PhotosPicker("Choose a photo", selection: $choice, matching: .images)
                if choice != nil { Button("Back to the camera") { choice = nil } }
            }
            .disabled(model == nil)
        }
        .padding()
        // Another choice cancels the task of the one before.
        .task(id: choice) { await judge() }
    }

    private func judge() async {
        do {
            // Off the main thread: loading reads the model and computes its SHA-256.
            if model == nil { model = try await Task.detached { try EganModel() }.value }
            guard let model else { return }
            photo = nil
            if let choice {
                let image = try await image(of: choice)
                photo = image
                answer = "Looking"
                show(try await model.score(image), by: model)
            } else {
                for await frame in try await camera.frames() {
                    show(try await model.score(frame), by: model)
                }
            }
        } catch is CancellationError {
            // The answer belongs to the other choice now.
        } catch {
            if !Task.isCancelled { answer = error.localizedDescription }
        }
    }

    private func image(of choice: PhotosPickerItem) async throws -> UIImage {
        let data = try await choice.loadTransferable(type: Data.self)
        guard let image = data.flatMap(UIImage.init(data:)) else {
            throw EganError("The photo cannot be read. Choose another.")
        }
        try Task.checkCancellation()
        return image
    }

    private func show(_ decision: Decision, by model: EganModel) {
        let classes = model.contract.classes
        let names = decision.isMinority ? classes.minority : classes.majority
        answer = "\(names.joined(separator: " / "))\nscore \(String(format: "%.2f", decision.score))"
    }
}
